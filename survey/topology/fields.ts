/** Reading values out of a survey file: each knows where it stands, so that an error names file and field. */
import { OverlayError } from "../../overlay/base/errors.ts";
import { looksLikeNodeId } from "../../overlay/base/peer_address.ts";
import { decodeNodeId } from "../../overlay/crypto/strkey.ts";
import type { Json } from "./json_text.ts";
import { type Attribute, NODE_NUMBERS, type NodeData, PEER_COUNTERS, type PeerData } from "./types.ts";

/** A quorum set has at most four levels; nothing sensible comes near. */
const MAX_ATTRIBUTE_DEPTH = 50;
const MAX_UINT64 = 0xffffffffffffffffn;

/** A `survey_file_invalid` for a place in a file. A place named with something very long of the file is cut short. */
export function invalid(path: string, at: string, reason: string, cause?: unknown): OverlayError {
  const place = at.length > 200 ? `${at.slice(0, 200)}...` : at;
  return new OverlayError({ code: "survey_file_invalid", path, at: place, reason }, { cause });
}

/** A value of a file, with its place. All methods throw OverlayError `survey_file_invalid` when the value is another. */
export class Field {
  /** `path` is the file's, `at` the place in it. */
  constructor(readonly value: Json, readonly path: string, readonly at: string = "") {}

  fail(reason: string): OverlayError {
    return invalid(this.path, this.at, reason);
  }

  /** The fields of an object; a field without a value is not among them. */
  object(): Map<string, Field> {
    const { value } = this;
    if (value === null || typeof value !== "object" || Array.isArray(value)) throw this.fail("needs an object");
    const fields = new Map<string, Field>();
    for (const [key, item] of Object.entries(value)) fields.set(key, new Field(item, this.path, join(this.at, key)));
    return fields;
  }

  array(): Field[] {
    if (!Array.isArray(this.value)) throw this.fail("needs a list");
    return this.value.map((item, i) => new Field(item, this.path, `${this.at}[${i}]`));
  }

  /** The entries of a list; none for null, which is how stellar-core prints an empty list. */
  arrayOrNull(): Field[] {
    return this.value === null ? [] : this.array();
  }

  text(): string {
    if (typeof this.value !== "string") throw this.fail("needs a text");
    return this.value;
  }

  boolean(): boolean {
    if (typeof this.value !== "boolean") throw this.fail("needs true or false");
    return this.value;
  }

  uint32(): number {
    const { value } = this;
    if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > 0xffffffff) {
      throw this.fail("needs a whole number below 2^32");
    }
    return value;
  }

  /** A whole number, or one written as text as our own documents do. */
  uint64(): bigint {
    const { value } = this;
    const number = typeof value === "number" && Number.isInteger(value)
      ? BigInt(value)
      : typeof value === "string" && /^\d{1,20}$/.test(value)
      ? BigInt(value)
      : value;
    if (typeof number !== "bigint" || number < 0n || number > MAX_UINT64) {
      throw this.fail("needs a whole number below 2^64");
    }
    return number;
  }

  /** A node id with a good checksum. */
  nodeId(): string {
    const text = this.text();
    checkNodeId(text, this);
    return text;
  }

  /** A node id, or another name of a node: made-up topologies use numbers. */
  nodeName(): string {
    if (typeof this.value === "number" && Number.isInteger(this.value)) return String(this.value);
    const text = this.text();
    if (looksLikeNodeId(text)) checkNodeId(text, this);
    // deno-lint-ignore no-control-regex
    else if (text === "" || text.length > 100 || /[\u0000-\u001f\u007f]/.test(text)) throw this.fail("needs a node id");
    return text;
  }

  /** An instant in ISO 8601, as Unix ms. */
  instant(): number {
    const ms = /^\d{4}-\d\d-\d\dT/.test(this.text()) ? Date.parse(this.text()) : NaN;
    if (Number.isNaN(ms)) throw this.fail("needs a time such as 2026-01-31T12:00:00.000Z");
    return ms;
  }

  /** A value that is none of the survey's. A whole number that a double cannot hold exactly is kept as text. */
  attribute(): Attribute {
    if (this.value === null) throw this.fail("needs a value");
    const value = foreign(this.value, MAX_ATTRIBUTE_DEPTH);
    if (value === undefined) throw this.fail(`is nested deeper than ${MAX_ATTRIBUTE_DEPTH} levels`);
    return value as Attribute;
  }

  oneOf<T extends string>(names: readonly T[]): T {
    const found = names.find((name) => name === this.value);
    if (found === undefined) throw this.fail(`needs one of ${names.join(", ")}`);
    return found;
  }
}

/** Undefined when it is nested deeper than `levels`. */
function foreign(value: Json, levels: number): Attribute | null | undefined {
  if (typeof value === "bigint") return String(Number(value)) === String(value) ? Number(value) : String(value);
  if (value === null || typeof value !== "object") return value;
  if (levels === 0) return undefined;
  const items = Object.entries(value).map(([key, item]) => [key, foreign(item, levels - 1)] as const);
  if (items.some(([, item]) => item === undefined)) return undefined;
  return (Array.isArray(value) ? items.map(([, item]) => item) : Object.fromEntries(items)) as Attribute;
}

function checkNodeId(text: string, field: Field): void {
  try {
    decodeNodeId(text);
  } catch (error) {
    const failure = error instanceof OverlayError ? error.failure : undefined;
    throw field.fail(`needs a node id: ${failure?.code === "invalid_argument" ? failure.reason : String(error)}`);
  }
}

function join(at: string, key: string): string {
  return at === "" ? key : `${at}.${key}`;
}

/** The figures of a node among `fields`, and the names of those that are not there. */
export function readNodeData(fields: ReadonlyMap<string, Field>): { data: NodeData; absent?: string[] } {
  const absent: string[] = [];
  const data: Record<string, number | boolean> = {};
  for (const name of NODE_NUMBERS) data[name] = fields.get(name)?.uint32() ?? (absent.push(name), 0);
  data.isValidator = fields.get("isValidator")?.boolean() ?? (absent.push("isValidator"), false);
  return { data: data as unknown as NodeData, ...(absent.length > 0 && { absent }) };
}

/** The report of a link among `fields`, on the peer named. */
export function readPeerData(
  fields: ReadonlyMap<string, Field>,
  nodeId: string,
  version: string | undefined = fields.get("version")?.text(),
): PeerData {
  const absent: string[] = [];
  const data: Record<string, unknown> = { nodeId, version: version ?? (absent.push("version"), "") };
  for (const name of PEER_COUNTERS) data[name] = fields.get(name)?.uint64() ?? (absent.push(name), 0n);
  data.averageLatencyMs = fields.get("averageLatencyMs")?.uint32() ?? (absent.push("averageLatencyMs"), 0);
  if (absent.length > 0) data.absent = absent;
  return data as unknown as PeerData;
}

/** The figures of a node that a file is to carry. */
export function nodeFields(data: NodeData, absent: readonly string[] = []): Record<string, number | boolean> {
  const names = [...NODE_NUMBERS, "isValidator" as const].filter((name) => !absent.includes(name));
  return Object.fromEntries(names.map((name) => [name, data[name]]));
}

/** The figures of a link report that a file is to carry, without nodeId and version. */
export function peerFields(peer: PeerData): Record<string, number | bigint> {
  const fields: Record<string, number | bigint> = {};
  for (const name of [...PEER_COUNTERS, "averageLatencyMs" as const]) {
    if (!peer.absent?.includes(name)) fields[name] = peer[name];
  }
  return fields;
}

/** `version` as a field, unless the report has none. */
export function versionField(peer: PeerData): { version?: string } {
  return peer.absent?.includes("version") ? {} : { version: peer.version };
}
