/**
 * XDR (RFC 4506): a cursor to read, a cursor to write, and combinators that turn a list of fields into a codec. Decoding
 * accepts exactly what encoding makes, with one exception that upstream shares: any non-zero word is true in a bool and in
 * an optional's flag. Nothing is allocated before its length was checked against the bytes that are there.
 * Source: RFC 4506; stellar-core's xdrpp (marshal.h) for the nesting limit.
 */
import { OverlayError } from "../base/errors.ts";
import { decodeText } from "../base/bytes.ts";

/** Structures and containers inside each other that upstream accepts. Source: stellar-core main.cpp. */
export const MAX_NESTING = 1500;

/** Steps of a field path that are shown from either end; a deep path would fill the log. */
const PATH_STEPS_SHOWN = 8;

/** Reads and writes one XDR type. `read` and `write` throw {@link XdrError}; use `decode` and `encode` from outside. */
export interface Codec<T> {
  read(reader: Reader): T;
  write(writer: Writer, value: T): void;
}

/** The value type of a codec. */
export type Value<C> = C extends Codec<infer T> ? T : never;

/** A failure inside a codec. Collects the field path while it leaves the codecs that were at work. */
export class XdrError extends Error {
  readonly path: (string | number)[] = [];
  constructor(readonly reason: string) {
    super(reason);
    this.name = "XdrError";
  }
}

/** Adds a path step to an {@link XdrError} that is on its way out; returns the error to throw on. */
function within(step: string | number, error: unknown): unknown {
  if (error instanceof XdrError) error.path.unshift(step);
  return error;
}

function pathText(path: (string | number)[]): string {
  let text = "";
  for (const step of path) text += typeof step === "number" ? `[${step}]` : text === "" ? step : `.${step}`;
  if (path.length <= 2 * PATH_STEPS_SHOWN + 1) return text === "" ? "(top)" : text;
  return `${pathText(path.slice(0, PATH_STEPS_SHOWN))}…${pathText(path.slice(-PATH_STEPS_SHOWN))}`;
}

/** Hears where each field and entry of a value lies while it is read: for tools that explain bytes. */
export interface ReadTrace {
  /** A field, or an entry by its index, begins at `at`. */
  enter(step: string | number, at: number): void;
  /** It ended before `at`. Not called when it could not be read. */
  leave(at: number, value: unknown): void;
}

/** Reads one field or entry under its name, and tells the reader's trace of it. */
export function readTraced<T>(reader: Reader, step: string | number, codec: Codec<T>): T {
  const { trace } = reader;
  if (trace === undefined) return codec.read(reader);
  trace.enter(step, reader.at);
  const value = codec.read(reader);
  trace.leave(reader.at, value);
  return value;
}

/** A cursor over received bytes. */
export class Reader {
  readonly bytes: Uint8Array;
  at: number;
  readonly end: number;
  depth = 0;
  /** Told about every field of structs and vectors. */
  trace: ReadTrace | undefined = undefined;

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    // A Buffer's slice() is a view on the same memory; codecs need the one that copies.
    const plain = bytes.constructor === Uint8Array;
    this.bytes = plain ? bytes : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
    this.at = at;
    this.end = end;
  }

  /** Bytes not read yet. */
  get left(): number {
    return this.end - this.at;
  }

  /** Moves over `n` bytes and returns where they start. */
  take(n: number): number {
    const at = this.at;
    if (n > this.end - at) throw new XdrError(`needs ${n} bytes, ${this.end - at} left`);
    this.at = at + n;
    return at;
  }

  uint32(): number {
    const at = this.take(4), b = this.bytes;
    return ((b[at] << 24) | (b[at + 1] << 16) | (b[at + 2] << 8) | b[at + 3]) >>> 0;
  }

  /** Moves over the zero bytes that fill the last word of `length` bytes. */
  padding(length: number): void {
    const n = (4 - (length & 3)) & 3;
    const at = this.take(n);
    for (let i = 0; i < n; i++) if (this.bytes[at + i] !== 0) throw new XdrError("padding is not zero");
  }

  enter(): void {
    if (++this.depth > MAX_NESTING) throw new XdrError(`nested deeper than ${MAX_NESTING}`);
  }

  leave(): void {
    this.depth--;
  }
}

/** A cursor that builds bytes; its buffer grows as needed. */
export class Writer {
  bytes: Uint8Array;
  at: number;
  depth = 0;

  constructor(bytes: Uint8Array = new Uint8Array(256), at = 0) {
    this.bytes = bytes;
    this.at = at;
  }

  /** Makes room for `n` more bytes, moves over them and returns where they start. They may hold old data. */
  reserve(n: number): number {
    const at = this.at;
    if (at + n > this.bytes.length) {
      const grown = new Uint8Array(Math.max(2 * this.bytes.length, at + n));
      grown.set(this.bytes.subarray(0, at));
      this.bytes = grown;
    }
    this.at = at + n;
    return at;
  }

  uint32(value: number): void {
    const at = this.reserve(4), b = this.bytes;
    b[at] = value >>> 24;
    b[at + 1] = value >>> 16;
    b[at + 2] = value >>> 8;
    b[at + 3] = value;
  }

  raw(bytes: Uint8Array): void {
    const at = this.reserve(bytes.length); // first: it may replace `this.bytes`
    this.bytes.set(bytes, at);
  }

  padding(length: number): void {
    const n = (4 - (length & 3)) & 3;
    const at = this.reserve(n);
    for (let i = 0; i < n; i++) this.bytes[at + i] = 0;
  }

  enter(): void {
    if (++this.depth > MAX_NESTING) throw new XdrError(`nested deeper than ${MAX_NESTING}`);
  }

  leave(): void {
    this.depth--;
  }

  /** A copy of what was written. */
  finish(): Uint8Array {
    return this.bytes.slice(0, this.at);
  }
}

/** The buffer that `encode` writes into before it copies; absent while in use. BOUNDED: one, of at most 64 KiB. */
let spare: Uint8Array | undefined;
const SPARE_BYTES = 65_536;

/**
 * Decodes `bytes` as exactly one value.
 * @throws OverlayError `xdr_invalid` with the field path, also when bytes are left over
 */
export function decode<T>(codec: Codec<T>, bytes: Uint8Array, root = ""): T {
  const reader = new Reader(bytes);
  try {
    const value = codec.read(reader);
    if (reader.left > 0) throw new XdrError(`${reader.left} bytes left over`);
    return value;
  } catch (error) {
    throw invalid(error, root);
  }
}

/**
 * Encodes one value. The result is a new array of exactly its length.
 * @throws OverlayError `xdr_invalid` with the field path when a value is outside its type's bounds
 */
export function encode<T>(codec: Codec<T>, value: T, root = ""): Uint8Array {
  const writer = new Writer(spare);
  spare = undefined;
  try {
    codec.write(writer, value);
    return writer.finish();
  } catch (error) {
    throw invalid(error, root);
  } finally {
    if (writer.bytes.length <= SPARE_BYTES) spare = writer.bytes;
  }
}

function invalid(error: unknown, root: string): unknown {
  if (!(error instanceof XdrError)) return error;
  const path = root === "" ? error.path : [root, ...error.path];
  return new OverlayError({ code: "xdr_invalid", path: pathText(path), reason: error.reason }, { cause: error });
}

function checkWord(value: number, low: number, high: number, type: string): void {
  if (!Number.isInteger(value) || value < low || value > high) throw new XdrError(`${value} is not ${type}`);
}

/** Unsigned 32-bit number. */
export const uint32: Codec<number> = {
  read: (r) => r.uint32(),
  write: (w, value) => {
    checkWord(value, 0, 0xffffffff, "a uint32");
    w.uint32(value);
  },
};

/** Signed 32-bit number; also any enum whose values are not checked. */
export const int32: Codec<number> = {
  read: (r) => r.uint32() | 0,
  write: (w, value) => {
    checkWord(value, -0x80000000, 0x7fffffff, "an int32");
    w.uint32(value);
  },
};

/** Unsigned 64-bit number. */
export const uint64: Codec<bigint> = {
  read: (r) => {
    const high = r.uint32(), low = r.uint32();
    return (BigInt(high) << 32n) | BigInt(low);
  },
  write: (w, value) => {
    if (typeof value !== "bigint" || value < 0n || value > 0xffffffffffffffffn) {
      throw new XdrError(`${value} is not a uint64`);
    }
    w.uint32(Number(value >> 32n));
    w.uint32(Number(value & 0xffffffffn));
  },
};

/** Bool: zero is false, everything else true. Source: xdrpp; see limits.md "XDR". */
export const bool: Codec<boolean> = {
  read: (r) => r.uint32() !== 0,
  write: (w, value) => w.uint32(value ? 1 : 0),
};

/** `opaque[n]`: exactly `n` bytes, copied. */
export function opaque(n: number): Codec<Uint8Array> {
  return {
    read: (r) => {
      const at = r.take(n);
      r.padding(n);
      return r.bytes.slice(at, at + n);
    },
    write: (w, value) => {
      if (value.length !== n) throw new XdrError(`${value.length} bytes instead of ${n}`);
      w.raw(value);
      w.padding(n);
    },
  };
}

/** Shared, so that a vector of millions of empty values stays small. */
const NO_BYTES = new Uint8Array(0);

/** `opaque<max>`: length, bytes (copied), padding. */
export function varOpaque(max = 0xffffffff): Codec<Uint8Array> {
  return {
    read: (r) => {
      const length = r.uint32();
      if (length > max) throw new XdrError(`${length} bytes, at most ${max} allowed`);
      if (length === 0) return NO_BYTES;
      const at = r.take(length);
      r.padding(length);
      return r.bytes.slice(at, at + length);
    },
    write: (w, value) => {
      if (value.length > max) throw new XdrError(`${value.length} bytes, at most ${max} allowed`);
      w.uint32(value.length);
      w.raw(value);
      w.padding(value.length);
    },
  };
}

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const utf8 = new TextEncoder();

/**
 * Text of XDR string bytes without loss: bytes that are not UTF-8 become U+DC80 to U+DCFF, one per byte, and
 * {@link bytesOfText} turns them back.
 */
export function textOfBytes(bytes: Uint8Array): string {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    let text = "";
    for (const b of bytes) text += String.fromCharCode(b < 0x80 ? b : 0xdc00 + b);
    return text;
  }
}

/** Bytes of a text from {@link textOfBytes}, or of any other text as UTF-8. */
export function bytesOfText(text: string): Uint8Array {
  if (!/[\udc80-\udcff]/.test(text) || decodeText(utf8.encode(text)) === text) return utf8.encode(text);
  const parts: number[] = [];
  for (const c of text) {
    const code = c.codePointAt(0)!;
    if (code >= 0xdc80 && code <= 0xdcff) parts.push(code - 0xdc00);
    else parts.push(...utf8.encode(c));
  }
  return Uint8Array.from(parts);
}

/** `string<max>`, counted in bytes. Any bytes survive decode and encode: see {@link textOfBytes}. */
export function text(max: number): Codec<string> {
  const bytes = varOpaque(max);
  return {
    read: (r) => textOfBytes(bytes.read(r)),
    write: (w, value) => bytes.write(w, bytesOfText(value)),
  };
}

/** `T items<max>`. A count beyond the bytes that are left fails before anything is allocated. */
export function vector<T>(item: Codec<T>, max = 0xffffffff): Codec<T[]> {
  return {
    read: (r) => {
      const count = r.uint32();
      if (count > max) throw new XdrError(`${count} entries, at most ${max} allowed`);
      // No XDR type takes less than one word.
      if (count * 4 > r.left) throw new XdrError(`${count} entries do not fit into ${r.left} bytes`);
      r.enter();
      const items: T[] = [];
      for (let i = 0; i < count; i++) {
        try {
          items.push(r.trace === undefined ? item.read(r) : readTraced(r, i, item));
        } catch (error) {
          throw within(i, error);
        }
      }
      r.leave();
      return items;
    },
    write: (w, items) => {
      if (items.length > max) throw new XdrError(`${items.length} entries, at most ${max} allowed`);
      w.uint32(items.length);
      w.enter();
      for (let i = 0; i < items.length; i++) {
        try {
          item.write(w, items[i]);
        } catch (error) {
          throw within(i, error);
        }
      }
      w.leave();
    },
  };
}

/** `T*`: absent is `null`. */
export function optional<T>(item: Codec<T>): Codec<T | null> {
  return {
    read: (r) => (r.uint32() === 0 ? null : item.read(r)),
    write: (w, value) => {
      w.uint32(value === null ? 0 : 1);
      if (value !== null) item.write(w, value);
    },
  };
}

/** `struct`: its fields in the order they are listed. */
// deno-lint-ignore no-explicit-any
export function struct<F extends Record<string, Codec<any>>>(fields: F): Codec<{ [K in keyof F]: Value<F[K]> }> {
  const names = Object.keys(fields) as (keyof F & string)[];
  const codecs = names.map((name) => fields[name]);
  return {
    read: (r) => {
      r.enter();
      // deno-lint-ignore no-explicit-any
      const value: any = {};
      let i = 0;
      try {
        if (r.trace === undefined) { for (; i < codecs.length; i++) value[names[i]] = codecs[i].read(r); }
        else for (; i < codecs.length; i++) value[names[i]] = readTraced(r, names[i], codecs[i]);
      } catch (error) {
        throw within(names[i], error);
      }
      r.leave();
      return value;
    },
    write: (w, value) => {
      w.enter();
      let i = 0;
      try {
        for (; i < codecs.length; i++) codecs[i].write(w, value[names[i]]);
      } catch (error) {
        throw within(names[i], error);
      }
      w.leave();
    },
  };
}

/** An enum whose unknown values are corrupt XDR. `names` maps the text used in code to the wire value. */
export function enumeration<N extends string>(names: Record<N, number>): Codec<N> {
  const byNumber = new Map<number, N>();
  for (const name of Object.keys(names) as N[]) byNumber.set(names[name], name);
  return {
    read: (r) => {
      const number = r.uint32() | 0;
      const name = byNumber.get(number);
      if (name === undefined) throw new XdrError(`unknown value ${number}`);
      return name;
    },
    write: (w, name) => {
      const number = names[name];
      if (number === undefined) throw new XdrError(`unknown name ${name}`);
      w.uint32(number);
    },
  };
}

/** Delays the look-up of a codec, for a type that contains itself. */
export function lazy<T>(get: () => Codec<T>): Codec<T> {
  return { read: (r) => get().read(r), write: (w, value) => get().write(w, value) };
}

/** Reads and writes a word that must have one value, such as a union's only arm. It has no place in the decoded value. */
export function constant<T>(number: number, then: Codec<T>, what: string): Codec<T> {
  return {
    read: (r) => {
      const found = r.uint32();
      if (found !== number) throw new XdrError(`unknown ${what} ${found | 0}`);
      return then.read(r);
    },
    write: (w, value) => {
      w.uint32(number);
      then.write(w, value);
    },
  };
}

/** All bytes up to the end of the cursor's range, copied: a body that nobody asked to decode. */
export const rest: Codec<Uint8Array> = {
  read: (r) => {
    if ((r.left & 3) !== 0) throw new XdrError(`${r.left} bytes are not whole words`);
    const at = r.take(r.left);
    return r.bytes.slice(at, r.end);
  },
  write: (w, value) => {
    if ((value.length & 3) !== 0) throw new XdrError(`${value.length} bytes are not whole words`);
    w.raw(value);
  },
};
