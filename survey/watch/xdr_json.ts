/**
 * Bodies of messages as JSON, in the manner of SEP-51: fields and cases in snake_case, a union as its case or as an object
 * with the case as its key, 64-bit integers as strings, bytes in hex, accounts and contracts as strkeys. The types are those of
 * stellar-base, loaded when somebody asks; what it does not know comes out as hex with the reason.
 */
import { decodeText, toHex } from "../../overlay/base/bytes.ts";
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";

/** What JSON holds. */
export type XdrJson = string | number | boolean | null | XdrJson[] | { [key: string]: XdrJson };

/** Makes the JSON of one StellarMessage; never throws. */
export type MessageJson = (message: Uint8Array) => XdrJson;

/** How deep a value may be; deeper ones are cut. Quorum sets nest four levels, Soroban's values may nest without end. */
const MAX_DEPTH = 200;

/** What js-xdr's values look like from outside. */
interface Shape {
  _attributes?: Record<string, unknown>;
  _switch?: unknown;
  _arm?: unknown;
  _value?: unknown;
  constructor: {
    structName?: string;
    unionName?: string;
    enumName?: string;
    _members?: Record<string, unknown>;
    name: string;
  };
  name?: string;
  value?: unknown;
}

/** Loads stellar-base, about 80 ms once, and gives the function. */
export async function loadMessageJson(): Promise<MessageJson> {
  const { xdr, StrKey } = await import("@stellar/stellar-base");

  const opaque = (bytes: Uint8Array, type: { fromXDR(bytes: Buffer): unknown }, depth: number): XdrJson => {
    try {
      return walk(type.fromXDR(Buffer.from(bytes)), depth);
    } catch {
      return toHex(bytes);
    }
  };
  /** Fields that hold encoded XDR, by struct and field. */
  const nested: Record<string, (value: unknown, depth: number) => XdrJson> = {
    "ScpBallot.value": (value, depth) => opaque(value as Uint8Array, xdr.StellarValue, depth),
    "ScpNomination.votes": (value, depth) => (value as Uint8Array[]).map((one) => opaque(one, xdr.StellarValue, depth)),
    "ScpNomination.accepted": (value, depth) =>
      (value as Uint8Array[]).map((one) => opaque(one, xdr.StellarValue, depth)),
    "StellarValue.upgrades": (value, depth) =>
      (value as Uint8Array[]).map((one) => opaque(one, xdr.LedgerUpgrade, depth)),
  };

  /** Fields that XDR calls a string; of a remote, so their bytes may be no UTF-8. */
  const texts = new Set(["versionStr", "msg", "homeDomain", "dataName"]);

  const walk = (value: unknown, depth: number): XdrJson => {
    if (depth > MAX_DEPTH) return "(deeper than is shown)";
    if (value === undefined || value === null) return null;
    if (typeof value === "bigint") return String(value);
    if (typeof value === "boolean" || typeof value === "number" || typeof value === "string") return value;
    if (value instanceof Uint8Array) return toHex(value);
    if (Array.isArray(value)) return value.map((one) => walk(one, depth + 1));
    const shape = value as Shape, { structName, unionName, enumName } = shape.constructor;
    if (enumName !== undefined) return caseName(shape);
    if (unionName !== undefined) return union(shape, unionName, depth);
    if (structName === undefined) return String(value);
    const object: Record<string, XdrJson> = {};
    for (const [field, of] of Object.entries(shape._attributes ?? {})) {
      const special = nested[`${structName}.${field}`];
      if (texts.has(field) && of instanceof Uint8Array) {
        object[snake(field)] = decodeText(of);
        continue;
      }
      object[snake(field)] = special === undefined ? walk(of, depth + 1) : special(of, depth + 1);
    }
    return object;
  };

  const union = (shape: Shape, name: string, depth: number): XdrJson => {
    const inner = shape._value;
    if ((name === "PublicKey" || name === "AccountId" || name === "NodeId") && inner instanceof Uint8Array) {
      return encodeNodeId(inner);
    }
    if (name === "MuxedAccount" && inner instanceof Uint8Array) return encodeNodeId(inner);
    if (name === "ScAddress" && String(shape._arm) === "contractId") {
      return StrKey.encodeContract(Buffer.from(inner as Uint8Array));
    }
    if (name === "AssetCode" && inner instanceof Uint8Array) return codeText(inner);
    if (name === "PeerAddressIp" && inner instanceof Uint8Array) {
      return inner.length === 4 ? inner.join(".") : toHex(inner);
    }
    if (name === "Memo" && inner instanceof Uint8Array && shape._arm === "text") return { text: decodeText(inner) };
    const key = typeof shape._switch === "number" ? `v${shape._switch}` : caseName(shape._switch as Shape);
    if (inner === undefined) return key;
    return { [key]: walk(inner, depth + 1) };
  };

  return (message) => {
    try {
      return walk(xdr.StellarMessage.fromXDR(Buffer.from(message)), 0);
    } catch (error) {
      return { undecoded: toHex(message), reason: error instanceof Error ? error.message : String(error) };
    }
  };
}

/** Letters of an asset code; hex when it has others. */
function codeText(code: Uint8Array): XdrJson {
  const text = String.fromCharCode(...code).replace(/\0+$/, "");
  return /^[0-9A-Za-z]*$/.test(text) ? text : toHex(code);
}

/** The name of an enumeration's member, without what all members begin with: `envelopeTypeTx` is `tx`. */
function caseName(member: Shape): string {
  const name = snake(String(member.name));
  const prefix = prefixOf(member.constructor);
  return prefix.length < name.length ? name.slice(prefix.length) : name;
}

/** BOUNDED: by the enumerations of the .x files. */
const prefixes = new WeakMap<object, string>();

function prefixOf(type: Shape["constructor"]): string {
  let prefix = prefixes.get(type);
  if (prefix !== undefined) return prefix;
  const lists = Object.keys(type._members ?? {}).map((name) => snake(name).split("_"));
  let shared = 0;
  if (lists.length > 1) {
    while (lists.every((words) => words.length > shared + 1 && words[shared] === lists[0][shared])) shared++;
  }
  prefix = lists.length > 1 ? lists[0].slice(0, shared).map((word) => `${word}_`).join("") : "";
  prefixes.set(type, prefix);
  return prefix;
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`).replace(/^_/, "");
}
