/**
 * Bytes explained: a tree of the fields of one XDR value with the place of each, also when only a part of it can be read.
 * Overlay types go through our own codecs, all others through stellar-base.
 */
import { readUint32 } from "../../overlay/base/bytes.ts";
import { OverlayError } from "../../overlay/base/errors.ts";
import { messageEnumName, messageTypeName, stellarMessage } from "../../overlay/wire/messages.ts";
import { MAX_MESSAGE_SIZE } from "../../overlay/wire/record.ts";
import {
  signedSurveyRequest,
  signedSurveyResponse,
  signedSurveyStart,
  signedSurveyStop,
  surveyResponseBody,
} from "../../overlay/wire/survey_messages.ts";
import {
  auth,
  authCert,
  dontHave,
  errorMsg,
  hello,
  ledgerCloseValueSignature,
  scpBallot,
  scpEnvelope,
  scpQuorumSet,
  scpStatement,
  sendMore,
  sendMoreExtended,
  stellarValue,
  wireAddress,
} from "../../overlay/wire/types.ts";
import { type Codec, Reader, type ReadTrace, XdrError } from "../../overlay/wire/xdr.ts";
import { toHex } from "../../overlay/base/bytes.ts";
import { type BaseTypes, loadBase } from "./base_types.ts";
import { fieldText } from "./fields.ts";

/** One field: where it lies and what it says. Offsets are bytes of the input. */
export interface Field {
  name: string;
  offset: number;
  bytes: number;
  /** Its value in words, with its unit; undefined when only its fields say something. May hold remote text: escape it. */
  text: string | undefined;
  fields: Field[];
}

/** Why bytes could not be read to their end. */
export interface Problem {
  /** Where: the start of the field at fault. */
  offset: number;
  /** Field path, such as `message.envelope.statement.slotIndex`. */
  path: string;
  /** What was expected, and what is there. */
  reason: string;
}

/** An explanation. With a problem the fields before it are there. */
export interface Explanation {
  /** XDR type, or `frame`. */
  type: string;
  offset: number;
  bytes: number;
  fields: Field[];
  problem: Problem | undefined;
}

/** The types of ours, by their names in the .x files. */
// deno-lint-ignore no-explicit-any
export const OWN_TYPES: Record<string, Codec<any>> = {
  StellarMessage: stellarMessage,
  Hello: hello,
  Auth: auth,
  AuthCert: authCert,
  Error: errorMsg,
  DontHave: dontHave,
  PeerAddress: wireAddress,
  SendMore: sendMore,
  SendMoreExtended: sendMoreExtended,
  SCPEnvelope: scpEnvelope,
  SCPStatement: scpStatement,
  SCPBallot: scpBallot,
  SCPQuorumSet: scpQuorumSet,
  StellarValue: stellarValue,
  LedgerCloseValueSignature: ledgerCloseValueSignature,
  SignedTimeSlicedSurveyRequestMessage: signedSurveyRequest,
  SignedTimeSlicedSurveyResponseMessage: signedSurveyResponse,
  SignedTimeSlicedSurveyStartCollectingMessage: signedSurveyStart,
  SignedTimeSlicedSurveyStopCollectingMessage: signedSurveyStop,
  SurveyResponseBody: surveyResponseBody,
};

/** A field while it is read. */
interface Node {
  step: string | number;
  start: number;
  end: number;
  value: unknown;
  done: boolean;
  children: Node[];
}

/** Builds the tree of what a codec reads. */
class Tracer implements ReadTrace {
  readonly root: Node;
  readonly #open: Node[];

  constructor(name: string, at: number) {
    this.root = { step: name, start: at, end: at, value: undefined, done: false, children: [] };
    this.#open = [this.root];
  }

  enter(step: string | number, at: number): void {
    const node: Node = { step, start: at, end: at, value: undefined, done: false, children: [] };
    this.#open.at(-1)!.children.push(node);
    this.#open.push(node);
  }

  leave(at: number, value: unknown): void {
    const node = this.#open.pop()!;
    node.end = at;
    node.value = value;
    node.done = true;
  }

  /** Ends all fields that are still open; returns the innermost. */
  close(at: number): Node {
    for (const node of this.#open) node.end = at;
    return this.#open.at(-1)!;
  }

  get path(): string {
    return pathOf(this.#open.slice(1).map((node) => node.step));
  }
}

function pathOf(steps: readonly (string | number)[]): string {
  let text = "";
  for (const step of steps) text += typeof step === "number" ? `[${step}]` : text === "" ? step : `.${step}`;
  return text;
}

/** Explains values. Made by {@link loadExplainer}, because the transaction types take a moment to load. */
export class Explainer {
  readonly #base: BaseTypes;

  constructor(base: BaseTypes) {
    this.#base = base;
  }

  /** Whether a type of this name is known. */
  knows(type: string): boolean {
    return type in OWN_TYPES || type === "AuthenticatedMessage" || this.#base.has(type);
  }

  /** All names of types that can be explained. */
  typeNames(): string[] {
    return [...new Set([...Object.keys(OWN_TYPES), "AuthenticatedMessage", ...this.#base.names()])].sort();
  }

  /**
   * Explains bytes as exactly one value of a type. `base` is the offset of `bytes[0]` in the input.
   * @throws OverlayError `invalid_argument` for an unknown type
   */
  value(type: string, bytes: Uint8Array, base = 0): Explanation {
    if (type === "AuthenticatedMessage") return this.#authenticated(bytes, base, type);
    const codec = OWN_TYPES[type];
    if (codec !== undefined) return this.#own(type, codec, bytes, base);
    if (!this.#base.has(type)) {
      throw new OverlayError({
        code: "invalid_argument",
        argument: "--type",
        reason: `no XDR type '${type}' is known`,
      });
    }
    const explanation: Explanation = { type, offset: base, bytes: bytes.length, fields: [], problem: undefined };
    const found = this.#base.explain(type, bytes, base);
    if ("reason" in found) explanation.problem = { offset: base, path: type, reason: found.reason };
    else explanation.fields = found.fields;
    return explanation;
  }

  /** Explains a frame: record mark and AuthenticatedMessage. */
  frame(bytes: Uint8Array, base = 0): Explanation {
    const type = "frame";
    if (bytes.length < 4) {
      const problem = { offset: base, path: "recordMark", reason: `needs 4 bytes, ${bytes.length} left` };
      return { type, offset: base, bytes: bytes.length, fields: [], problem };
    }
    const mark = readUint32(bytes, 0), length = mark & 0x7fffffff;
    const last = (mark >>> 31) === 1 ? "last fragment" : "the last-fragment bit is not set, which nobody looks at";
    const text = `${length} bytes follow, ${last}`;
    const recordMark: Field = { name: "recordMark", offset: base, bytes: 4, text, fields: [] };
    let problem: Problem | undefined;
    if (length === 0 || length > MAX_MESSAGE_SIZE) {
      problem = { offset: base, path: "recordMark", reason: `length ${length}; 1 to ${MAX_MESSAGE_SIZE} are legal` };
    } else if (bytes.length - 4 < length) {
      const reason = `the mark promises ${length} bytes, ${bytes.length - 4} left`;
      problem = { offset: base + 4, path: "frame", reason };
    }
    if (problem !== undefined && length === 0) {
      return { type, offset: base, bytes: bytes.length, fields: [recordMark], problem };
    }
    const body = this.#authenticated(
      bytes.subarray(4, 4 + length),
      base + 4,
      "AuthenticatedMessage",
      problem !== undefined,
    );
    return {
      type,
      offset: base,
      bytes: Math.min(bytes.length, 4 + length),
      fields: [recordMark, ...body.fields],
      problem: problem ?? body.problem,
    };
  }

  #authenticated(bytes: Uint8Array, base: number, type: string, cut = false): Explanation {
    const fields: Field[] = [];
    const all = (problem: Problem | undefined): Explanation => ({
      type,
      offset: base,
      bytes: bytes.length,
      fields,
      problem,
    });
    const add = (name: string, at: number, size: number, text: string) =>
      void fields.push({ name, offset: base + at, bytes: size, text, fields: [] });
    if (bytes.length < 4) return all({ offset: base, path: "version", reason: `needs 4 bytes, ${bytes.length} left` });
    const version = readUint32(bytes, 0);
    add("version", 0, 4, String(version));
    if (version !== 0) return all({ offset: base, path: "version", reason: `${version}; only 0 exists` });
    if (bytes.length < 12) {
      return all({ offset: base + 4, path: "sequence", reason: `needs 8 bytes, ${bytes.length - 4} left` });
    }
    add("sequence", 4, 8, String((BigInt(readUint32(bytes, 4)) << 32n) | BigInt(readUint32(bytes, 8))));
    const macAt = cut ? bytes.length : bytes.length - 32;
    if (macAt < 16) {
      const reason = `needs 4 bytes of message and 32 of MAC, ${bytes.length - 12} left`;
      return all({ offset: base + 12, path: "message", reason });
    }
    const message = this.#own("StellarMessage", stellarMessage, bytes.subarray(12, macAt), base + 12);
    fields.push({
      name: "message",
      offset: base + 12,
      bytes: macAt - 12,
      text: message.fields[0]?.text,
      fields: message.fields,
    });
    if (!cut) add("mac", macAt, 32, toHex(bytes.subarray(macAt)));
    const { problem } = message;
    return all(problem && { ...problem, path: problem.path === "" ? "message" : `message.${problem.path}` });
  }

  // deno-lint-ignore no-explicit-any
  #own(type: string, codec: Codec<any>, bytes: Uint8Array, base: number): Explanation {
    const reader = new Reader(bytes);
    const tracer = reader.trace = new Tracer(type, 0);
    const explanation: Explanation = { type, offset: base, bytes: bytes.length, fields: [], problem: undefined };
    let value: unknown;
    try {
      value = codec.read(reader);
      tracer.close(reader.at);
      if (reader.left > 0) {
        const reason = `${reader.left} bytes left over behind the value`;
        explanation.problem = { offset: base + reader.at, path: "", reason };
      }
    } catch (error) {
      if (!(error instanceof XdrError)) throw error;
      const { path } = tracer;
      const inner = tracer.close(reader.at);
      const offset = inner === tracer.root ? Math.max(0, reader.at - (reader.at > 0 ? 4 : 0)) : inner.start;
      explanation.problem = { offset: base + offset, path, reason: error.reason };
    }
    const { root } = tracer;
    if (type === "StellarMessage" && bytes.length >= 4) {
      const number = readUint32(bytes, 0);
      const known = messageTypeName(number) !== undefined;
      const text = known ? `${messageEnumName(number)} (${number})` : `unknown (${number})`;
      explanation.fields.push({ name: "type", offset: base, bytes: 4, text, fields: [] });
    }
    if (root.children.length === 0 && value !== undefined) {
      explanation.fields.push({
        name: type,
        offset: base,
        bytes: bytes.length,
        text: fieldText(type, value),
        fields: [],
      });
    }
    explanation.fields.push(...root.children.map((node) => this.#field(node, bytes, base, "")));
    return explanation;
  }

  #field(node: Node, bytes: Uint8Array, base: number, parent: string): Field {
    const name = String(node.step), known = typeof node.step === "number" ? parent : name;
    const field: Field = {
      name: typeof node.step === "number" ? `[${name}]` : name,
      offset: base + node.start,
      bytes: node.end - node.start,
      text: undefined,
      fields: node.children.map((child) => this.#field(child, bytes, base, known)),
    };
    if (!node.done) return field;
    field.text = fieldText(known, node.value, field.fields.length > 0);
    if (field.fields.length === 0) field.fields = this.#inside(known, node, bytes, base);
    return field;
  }

  /** Types that travel as opaque bytes inside others. */
  #inside(name: string, node: Node, bytes: Uint8Array, base: number): Field[] {
    const read = (type: string, from: number, to: number): Field[] => {
      const inner = this.value(type, bytes.subarray(from, to), base + from);
      return inner.problem === undefined ? inner.fields : [];
    };
    switch (name) {
      case "value":
      case "votes":
      case "accepted":
        if (!(node.value instanceof Uint8Array)) return [];
        // Behind the length word; values are whole words or padded.
        return read("StellarValue", node.start + 4, node.start + 4 + node.value.length);
      case "upgrades":
        if (!(node.value instanceof Uint8Array)) return [];
        return read("LedgerUpgrade", node.start + 4, node.start + 4 + node.value.length);
      case "transaction":
        return read("TransactionEnvelope", node.start, node.end);
      case "generalizedTxSet":
        return read("GeneralizedTransactionSet", node.start, node.end);
      case "txs":
        // The whole set, from its previous ledger hash and count on.
        return read("TransactionSet", node.start - 36, node.end).filter((field) =>
          field.offset >= base + node.start - 4
        );
      default:
        return [];
    }
  }
}

/** Loads the transaction types, about 80 ms once, and gives an explainer. */
export async function loadExplainer(): Promise<Explainer> {
  return new Explainer(await loadBase());
}

/** The fields of a tree that hold no others, and the bytes between them, in order: what a hex dump shows. */
export function leavesOf(explanation: Explanation): { path: string; offset: number; bytes: number; text?: string }[] {
  const leaves: { path: string; offset: number; bytes: number; text?: string }[] = [];
  const walk = (fields: readonly Field[], from: number, to: number, path: string) => {
    let at = from;
    for (const field of fields) {
      const end = field.offset + field.bytes;
      if (field.offset < at || end > to) continue;
      if (field.offset > at) leaves.push({ path: between(path, at === from), offset: at, bytes: field.offset - at });
      const own = field.name.startsWith("[") ? path + field.name : path === "" ? field.name : `${path}.${field.name}`;
      if (field.fields.some((inner) => inner.bytes > 0)) walk(field.fields, field.offset, end, own);
      else if (field.bytes > 0) leaves.push({ path: own, offset: field.offset, bytes: field.bytes, text: field.text });
      at = end;
    }
    if (at < to) leaves.push({ path: between(path, false), offset: at, bytes: to - at });
  };
  walk(explanation.fields, explanation.offset, explanation.offset + explanation.bytes, "");
  return leaves;
}

/** Words between fields are lengths, counts and union arms before them, padding behind them. */
function between(path: string, before: boolean): string {
  const of = path === "" ? "" : `${path} `;
  return before ? `${of}(length, count or arm)` : `${of}(padding, arm or not read)`;
}

/** Name of the type of a whole message, for headings. */
export function messageNameOf(frame: Uint8Array): string {
  if (frame.length < 20) return "?";
  return messageEnumName(readUint32(frame, 16));
}
