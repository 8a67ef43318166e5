/**
 * The XDR types that are stellar-base's: transactions, transaction sets, ledger upgrades and whatever else it knows. Its
 * decoder gives objects of one form, so one walk explains them all, with the place of each part that has a type of its own.
 */
import { Buffer } from "node:buffer";
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";
import type { Field } from "./explain.ts";

/** Deepest tree that is walked; deeper values are cut with a note. */
const MAX_DEPTH = 200;
/** Bytes up to which opaque data is shown whole. */
const SHOWN_BYTES = 64;

/** Types by name. */
export interface BaseTypes {
  has(type: string): boolean;
  names(): string[];
  /** The fields of exactly one value, or why it cannot be read. */
  explain(type: string, bytes: Uint8Array, base: number): { fields: Field[] } | { reason: string };
}

// deno-lint-ignore no-explicit-any
type Any = any;

/** Loads stellar-base. */
export async function loadBase(): Promise<BaseTypes> {
  const { xdr } = await import("@stellar/stellar-base");
  const types = xdr as unknown as Record<string, Any>;
  const has = (type: string) => Object.hasOwn(types, type) && typeof types[type]?.fromXDR === "function";
  return {
    has,
    names: () => Object.keys(types).filter(has),
    explain(type, bytes, base) {
      try {
        // A Buffer over a copy: the decoder's fields are views.
        const value = types[type].fromXDR(Buffer.from(bytes));
        const top = fieldOf("", value, base, bytes.length, 0);
        return { fields: top.fields.length > 0 ? top.fields : [{ ...top, name: type }] };
      } catch (error) {
        return { reason: `${type}: ${(error as Error).message}` };
      }
    },
  };
}

/** One value of js-xdr as a field. `offset` NaN: its place is not known, and it claims none. */
function fieldOf(name: string, value: Any, offset: number, size: number, depth: number): Field {
  const placed = !Number.isNaN(offset);
  const field: Field = { name, offset: placed ? offset : 0, bytes: placed ? size : 0, text: undefined, fields: [] };
  if (depth > MAX_DEPTH) return { ...field, text: "(nested too deeply to be shown)" };
  if (value === undefined || value === null) return { ...field, text: "absent" };
  if (value instanceof Uint8Array) return { ...field, text: bytesText(value) };
  if (typeof value !== "object") {
    return { ...field, text: typeof value === "string" ? JSON.stringify(value) : `${value}` };
  }
  if (Array.isArray(value)) {
    field.text = value.length === 1 ? "1 entry" : `${value.length} entries`;
    let at = offset + 4;
    for (const [i, item] of value.entries()) {
      const bytes = sizeOf(item) ?? Number.NaN;
      field.fields.push(fieldOf(`[${i}]`, item, Number.isNaN(bytes) ? Number.NaN : at, bytes, depth + 1));
      at += bytes;
    }
    return field;
  }
  if ("_attributes" in value) {
    let at = offset;
    for (const [attribute, inner] of Object.entries(value._attributes as Record<string, Any>)) {
      const bytes = sizeIn(value, attribute, inner) ?? Number.NaN;
      // An optional part that is there stands behind a flag.
      const flag = inner === undefined || inner === null ? 0 : bytes - (sizeOf(inner) ?? bytes);
      const place = Number.isNaN(bytes) ? Number.NaN : at + flag;
      field.fields.push(fieldOf(attribute, inner, place, bytes - flag, depth + 1));
      at += bytes;
    }
    return field;
  }
  if ("_switch" in value) {
    const arm = typeof value._switch === "object" ? value._switch.name : value._switch;
    const { _value: inner, _arm: named } = value;
    if (/^(publicKeyType|keyType)Ed25519$/.test(arm) && inner instanceof Uint8Array && inner.length === 32) {
      return { ...field, text: encodeNodeId(inner) };
    }
    field.text = String(arm);
    if (inner === undefined) return field;
    field.fields = [fieldOf(typeof named === "string" ? named : "value", inner, offset + 4, size - 4, depth + 1)];
    return field;
  }
  if (typeof value.name === "string" && typeof value.value === "number") {
    return { ...field, text: `${value.name} (${value.value})` };
  }
  return { ...field, text: String(value) };
}

/** Encoded size of an attribute, flag of an optional one included. */
function sizeIn(struct: Any, attribute: string, value: Any): number | undefined {
  const declared = (struct.constructor._fields as [string, Any][] | undefined)?.find(([name]) => name === attribute)
    ?.[1];
  return declared === undefined ? sizeOf(value) : sizeAs(declared, value);
}

/** Encoded size of a value as a type of js-xdr: a class, or an object for arrays, options and opaque data. */
function sizeAs(type: Any, value: Any): number | undefined {
  if (value instanceof Uint8Array || typeof value === "string") {
    const length = Buffer.from(value as string).length;
    return (type._length === undefined ? 4 : 0) + Math.ceil(length / 4) * 4;
  }
  if (Array.isArray(value)) {
    let size = type._length === undefined ? 4 : 0;
    for (const item of value) size += sizeAs(type._childType, item) ?? Number.NaN;
    return Number.isNaN(size) ? undefined : size;
  }
  if (type._childType !== undefined) {
    if (value === undefined || value === null) return 4;
    const size = sizeAs(type._childType, value);
    return size === undefined ? undefined : size + 4;
  }
  const own = sizeOf(value);
  if (own !== undefined) return own;
  try {
    return type.toXDR(value).length;
  } catch {
    return undefined;
  }
}

/** Encoded size of a value that has a type of its own. */
function sizeOf(value: Any): number | undefined {
  try {
    return typeof value?.toXDR === "function" ? value.toXDR().length : undefined;
  } catch {
    return undefined;
  }
}

function bytesText(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes.subarray(0, SHOWN_BYTES)).toString("hex");
  return bytes.length > SHOWN_BYTES
    ? `${hex}… (${bytes.length} bytes)`
    : bytes.length === 32
    ? hex
    : `${hex}${printable(bytes)} (${bytes.length} bytes)`;
}

/** An asset code, a memo, a home domain: text where the bytes are text. */
function printable(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString("latin1").replace(/\0+$/, "");
  return /^[\x20-\x7e]{2,}$/.test(text) ? ` ${JSON.stringify(text)}` : "";
}
