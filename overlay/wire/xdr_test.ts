import { test } from "node:test";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { isFailure, OverlayError } from "../base/errors.ts";
import { fromHex, toHex } from "../base/bytes.ts";
import {
  bool,
  bytesOfText,
  type Codec,
  constant,
  decode,
  encode,
  enumeration,
  int32,
  lazy,
  MAX_NESTING,
  opaque,
  optional,
  Reader,
  rest,
  struct,
  text,
  textOfBytes,
  uint32,
  uint64,
  varOpaque,
  vector,
  Writer,
  XdrError,
} from "./xdr.ts";

/** The failure of `run` must be `xdr_invalid` with exactly this message. */
function refused(run: () => unknown, message: string): void {
  assert.throws(run, (error) => {
    assert.ok(error instanceof OverlayError, String(error));
    assert.equal(error.code, "xdr_invalid");
    assert.equal(error.message, `xdr_invalid: at ${message}`);
    return true;
  });
}

/** `hex` and `value` must be each other's form, and every truncation and one more word must fail. */
function both<T>(codec: Codec<T>, hex: string, value: T): void {
  const bytes = fromHex(hex.replaceAll(" ", ""));
  assert.deepEqual(decode(codec, bytes), value);
  assert.equal(toHex(encode(codec, value)), toHex(bytes));
  for (let n = 0; n < bytes.length; n++) {
    assert.throws(() => decode(codec, bytes.subarray(0, n)), isFailure("xdr_invalid"));
  }
  assert.throws(() => decode(codec, Uint8Array.from([...bytes, 0, 0, 0, 0])), isFailure("xdr_invalid"));
}

const bytesOf = (hex: string) => fromHex(hex.replaceAll(" ", ""));

test("every codec has the bytes of RFC 4506", () => {
  both(uint32, "00000000", 0);
  both(uint32, "fffffffe", 0xfffffffe);
  both(int32, "ffffffff", -1);
  both(int32, "80000000", -0x80000000);
  both(int32, "7fffffff", 0x7fffffff);
  both(uint64, "0123456789abcdef", 0x0123456789abcdefn);
  both(uint64, "ffffffffffffffff", 0xffffffffffffffffn);
  both(bool, "00000000", false);
  both(bool, "00000001", true);
  both(opaque(4), "01020304", Uint8Array.of(1, 2, 3, 4));
  both(opaque(5), "0102030405 000000", Uint8Array.of(1, 2, 3, 4, 5));
  both(varOpaque(9), "00000000", new Uint8Array(0));
  both(varOpaque(9), "00000003 aabbcc00", Uint8Array.of(0xaa, 0xbb, 0xcc));
  both(varOpaque(4), "00000004 aabbccdd", Uint8Array.of(0xaa, 0xbb, 0xcc, 0xdd));
  both(text(9), "00000005 68656c6c 6f000000", "hello");
  both(vector(uint32, 3), "00000000", []);
  both(vector(uint32, 3), "00000002 00000007 00000008", [7, 8]);
  both(optional(uint32), "00000000", null);
  both(optional(uint32), "00000001 00000009", 9);
  both(struct({ a: uint32, b: bool }), "00000007 00000001", { a: 7, b: true });
  both(enumeration({ minus: -1, two: 2 }), "ffffffff", "minus");
  both(enumeration({ minus: -1, two: 2 }), "00000002", "two");
  both(constant(3, uint32, "arm"), "00000003 00000001", 1);
  both(lazy(() => uint32), "00000001", 1);
});

test("rest takes whole words up to the end", () => {
  assert.deepEqual(decode(rest, bytesOf("01020304 05060708")), bytesOf("01020304 05060708"));
  assert.deepEqual(decode(rest, new Uint8Array(0)), new Uint8Array(0));
  refused(() => decode(rest, bytesOf("0102030405")), "(top): 5 bytes are not whole words");
  refused(() => encode(rest, new Uint8Array(3)), "(top): 3 bytes are not whole words");
});

test("decode refuses bytes left over and says how many", () => {
  refused(() => decode(uint32, bytesOf("00000001 00000002 00")), "(top): 5 bytes left over");
  refused(() => decode(uint32, new Uint8Array(5), "answer"), "answer: 1 bytes left over");
});

test("a failure names the field", () => {
  const inner = struct({ pubkey: opaque(4), sig: varOpaque(64) });
  const outer = struct({ n: uint32, certs: vector(inner, 5), last: optional(inner) });
  const start = bytesOf("00000001 00000002 aaaaaaaa 00000000 bbbbbbbb 00000040 000000000000000000000000");
  refused(() => decode(outer, start), "certs[1].sig: needs 64 bytes, 12 left");
  refused(() => decode(outer, start, "top"), "top.certs[1].sig: needs 64 bytes, 12 left");
  refused(() => decode(vector(vector(uint32)), bytesOf("00000001 00000001")), "[0]: 1 entries do not fit into 0 bytes");
  const value = { n: 1, certs: [], last: { pubkey: new Uint8Array(4), sig: new Uint8Array(65) } };
  refused(() => encode(outer, value), "last.sig: 65 bytes, at most 64 allowed");
  refused(() => encode(outer, { ...value, last: null, n: -1 }, "top"), "top.n: -1 is not a uint32");
  const certs = [{ pubkey: new Uint8Array(4), sig: new Uint8Array(0) }, {
    pubkey: new Uint8Array(3),
    sig: new Uint8Array(0),
  }];
  refused(() => encode(outer, { n: 1, certs, last: null }), "certs[1].pubkey: 3 bytes instead of 4");
});

test("the failure's cause is the codec's own error", () => {
  try {
    decode(uint32, new Uint8Array(1));
    assert.fail("accepted");
  } catch (error) {
    assert.ok(error instanceof OverlayError && error.cause instanceof XdrError);
    assert.deepEqual(error.failure, { code: "xdr_invalid", path: "(top)", reason: "needs 4 bytes, 1 left" });
  }
});

test("errors of other kinds pass through decode and encode unchanged", () => {
  const bug = new TypeError("bug");
  const throwing: Codec<number> = {
    read: () => {
      throw bug;
    },
    write: () => {
      throw bug;
    },
  };
  const codec = struct({ items: vector(throwing) });
  assert.throws(() => decode(codec, bytesOf("00000001 00000001")), (error) => error === bug);
  assert.throws(() => encode(codec, { items: [1] }), (error) => error === bug);
});

test("bounds hold both ways", () => {
  refused(() => decode(varOpaque(4), bytesOf("00000005 0000000000000000")), "(top): 5 bytes, at most 4 allowed");
  refused(() => encode(varOpaque(4), new Uint8Array(5)), "(top): 5 bytes, at most 4 allowed");
  refused(() => encode(opaque(4), new Uint8Array(5)), "(top): 5 bytes instead of 4");
  refused(() => decode(text(2), bytesOf("00000003 61626300")), "(top): 3 bytes, at most 2 allowed");
  refused(() => encode(text(2), "a€"), "(top): 4 bytes, at most 2 allowed");
  refused(() => decode(vector(uint32, 1), bytesOf("00000002 0000000000000000")), "(top): 2 entries, at most 1 allowed");
  refused(() => encode(vector(uint32, 1), [1, 2]), "(top): 2 entries, at most 1 allowed");
  for (const bad of [-1, 0x100000000, 0.5, NaN, Infinity]) {
    refused(() => encode(uint32, bad), `(top): ${bad} is not a uint32`);
  }
  for (const bad of [-0x80000001, 0x80000000, 0.5, NaN]) {
    refused(() => encode(int32, bad), `(top): ${bad} is not an int32`);
  }
  for (const bad of [-1n, 1n << 64n]) refused(() => encode(uint64, bad), `(top): ${bad} is not a uint64`);
});

test("unknown enum values, names and arms are refused", () => {
  const codec = enumeration({ two: 2 });
  refused(() => decode(codec, bytesOf("00000001")), "(top): unknown value 1");
  refused(() => decode(codec, bytesOf("ffffffff")), "(top): unknown value -1");
  refused(() => encode(codec, "three" as "two"), "(top): unknown name three");
  refused(() => decode(constant(0, uint32, "key type"), bytesOf("ffffffff00000000")), "(top): unknown key type -1");
});

test("padding must be zero and present", () => {
  for (const bad of ["00000001 61010000", "00000001 61000001", "00000003 61616101"]) {
    refused(() => decode(varOpaque(), bytesOf(bad)), "(top): padding is not zero");
    refused(() => decode(text(9), bytesOf(bad)), "(top): padding is not zero");
  }
  refused(() => decode(opaque(3), bytesOf("00000001")), "(top): padding is not zero");
  refused(() => decode(varOpaque(), bytesOf("00000001 6100")), "(top): needs 3 bytes, 1 left");
});

test("any non-zero word is true in a bool and in an optional's flag; encoding makes it 1", () => {
  for (const word of ["00000002", "ffffffff", "80000000", "01000000"]) {
    assert.equal(decode(bool, bytesOf(word)), true);
    assert.equal(toHex(encode(bool, true)), "00000001");
    assert.equal(decode(optional(uint32), bytesOf(word + "00000005")), 5);
  }
});

test("a count of 2^32-1 fails before anything is allocated", () => {
  const all = bytesOf("ffffffff 00000000");
  refused(() => decode(varOpaque(), all), "(top): needs 4294967295 bytes, 4 left");
  refused(() => decode(text(0xffffffff), all), "(top): needs 4294967295 bytes, 4 left");
  refused(() => decode(vector(uint32), all), "(top): 4294967295 entries do not fit into 4 bytes");
  refused(() => decode(vector(vector(uint32)), all), "(top): 4294967295 entries do not fit into 4 bytes");
  refused(
    () => decode(vector(varOpaque()), bytesOf("7fffffff 00000000")),
    "(top): 2147483647 entries do not fit into 4 bytes",
  );
  // One word per entry is the least an entry takes.
  assert.equal(decode(vector(varOpaque()), bytesOf("00000001 00000000")).length, 1);
  refused(() => decode(vector(varOpaque()), bytesOf("00000002 00000000")), "(top): 2 entries do not fit into 4 bytes");
});

interface Chain {
  next: Chain | null;
}
const chain: Codec<Chain> = struct({ next: optional(lazy(() => chain)) });

function chainOf(levels: number): Chain {
  let head: Chain = { next: null };
  for (let i = 1; i < levels; i++) head = { next: head };
  return head;
}

test("nesting ends at MAX_NESTING, in both directions and without a stack overflow", () => {
  const most = chainOf(MAX_NESTING);
  const bytes = encode(chain, most);
  let depth = 0;
  for (let c: Chain | null = decode(chain, bytes); c !== null; c = c.next) depth++;
  assert.equal(depth, MAX_NESTING);

  const deeper = (levels: number) => {
    const words = new Uint8Array(4 * levels);
    for (let i = 0; i < levels - 1; i++) words[4 * i + 3] = 1;
    return words;
  };
  assert.deepEqual(deeper(MAX_NESTING), bytes);
  for (const levels of [MAX_NESTING + 1, 1_000_000]) {
    assert.throws(() => decode(chain, deeper(levels)), (error) => {
      assert.ok(isFailure("xdr_invalid")(error));
      assert.match(error.message, /: nested deeper than 1500$/);
      return true;
    });
  }
  for (const levels of [MAX_NESTING + 1, 1_000_000]) {
    assert.throws(() => encode(chain, chainOf(levels)), isFailure("xdr_invalid"));
  }
  const endless: Chain = { next: null };
  endless.next = endless;
  assert.throws(() => encode(chain, endless), isFailure("xdr_invalid"));
});

test("depth is given back: neighbours do not add up", () => {
  const codec = vector(struct({ items: vector(struct({ n: uint32 })) }));
  const value = Array.from({ length: 4 * MAX_NESTING }, () => ({ items: [{ n: 1 }] }));
  assert.deepEqual(decode(codec, encode(codec, value)), value);
});

test("a deep path is shown by its two ends", () => {
  const bytes = new Uint8Array(100);
  for (let i = 0; i < 24; i++) bytes[4 * i + 3] = 1;
  const eight = Array(8).fill("next").join(".");
  refused(() => decode(chain, bytes.subarray(0, 96)), `${eight}…${eight}: needs 4 bytes, 0 left`);
  const all = Array(17).fill("next").join(".");
  refused(() => decode(chain, bytes.subarray(0, 64)), `${all}: needs 4 bytes, 0 left`);
});

test("decoded bytes are copies, also when they come from a Buffer", () => {
  const codec = struct({ fixed: opaque(4), variable: varOpaque(), rest });
  for (
    const source of [
      bytesOf("01020304 00000002 0506 0000 0708090a"),
      Buffer.from("0102030400000002050600000708090a", "hex"),
    ]
  ) {
    const value = decode(codec, source);
    source.fill(0xff);
    assert.deepEqual(value, {
      fixed: Uint8Array.of(1, 2, 3, 4),
      variable: Uint8Array.of(5, 6),
      rest: Uint8Array.of(7, 8, 9, 10),
    });
    for (const bytes of Object.values(value)) assert.equal(bytes.constructor, Uint8Array);
  }
});

test("decode reads a view at its place in a larger buffer", () => {
  const large = bytesOf("ffffffff 00000007 ffffffff");
  assert.equal(decode(uint32, large.subarray(4, 8)), 7);
  assert.equal(decode(uint32, Buffer.from(large).subarray(4, 8)), 7);
  assert.equal(uint32.read(new Reader(large, 4, 8)), 7);
  assert.throws(() => uint64.read(new Reader(large, 4, 8)), XdrError);
});

test("Writer grows, keeps what it has and gives its own copy", () => {
  for (const size of [0, 1, 255, 256, 257, 1000, 70_000]) {
    const value = Uint8Array.from({ length: size }, (_, i) => i * 7);
    const codec = struct({ a: uint32, b: varOpaque(), c: varOpaque() });
    assert.deepEqual(decode(codec, encode(codec, { a: 1, b: value, c: value })), { a: 1, b: value, c: value });
  }
  const writer = new Writer(new Uint8Array(0));
  writer.raw(Uint8Array.of(1, 2, 3));
  writer.padding(3);
  writer.uint32(0xfffefdfc);
  assert.equal(toHex(writer.finish()), "01020300fffefdfc");
});

test("encode gives separate arrays, zeroes padding over old data, and may run inside itself", () => {
  const first = encode(varOpaque(), new Uint8Array(100).fill(0xff));
  const second = encode(varOpaque(), Uint8Array.of(1));
  assert.equal(toHex(second), "0000000101000000");
  assert.equal(first[4], 0xff);
  const nested: Codec<number> = { read: uint32.read, write: (w, n) => w.raw(encode(uint32, n)) };
  assert.equal(toHex(encode(vector(nested), [1, 9])), "000000020000000100000009");
  assert.throws(() => encode(uint32, -1), isFailure("xdr_invalid"));
  assert.equal(toHex(encode(uint32, 5)), "00000005");
});

test("textOfBytes keeps any bytes, and bytesOfText gives them back", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
    assert.deepEqual(bytesOfText(textOfBytes(bytes)), bytes);
  }));
  // Text that is valid reads as text, and astral characters whose low half looks like an escaped byte stay what they are.
  for (
    const valid of ["", "v26.1.0", "grün €", "\u{1f480}", "\ufeffbom", "\0"]
  ) {
    assert.equal(textOfBytes(bytesOfText(valid)), valid);
    assert.deepEqual(bytesOfText(valid), new TextEncoder().encode(valid));
  }
  assert.equal(textOfBytes(Uint8Array.of(0x61, 0xff, 0x80)), "a\udcff\udc80");
  // Half of a character: every byte above ASCII is escaped, valid neighbours too.
  assert.equal(textOfBytes(Uint8Array.of(0xc3, 0xbc, 0xc3)), "\udcc3\udcbc\udcc3");
  // UTF-8 of a lone surrogate is no UTF-8.
  assert.equal(textOfBytes(Uint8Array.of(0xed, 0xb2, 0x80)), "\udced\udcb2\udc80");
});

test("bytesOfText encodes any string without throwing, lone surrogates included", () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map((n) => String.fromCharCode(n)) }), (s) => {
      const bytes = bytesOfText(s);
      assert.deepEqual(bytesOfText(textOfBytes(bytes)), bytes);
    }),
  );
});

test("text survives decode and encode whatever its bytes", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
    const wire = encode(varOpaque(100), bytes);
    assert.deepEqual(encode(text(100), decode(text(100), wire)), wire);
  }));
});

test("numbers survive encode and decode", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0xffffffff }), (n) => assert.equal(decode(uint32, encode(uint32, n)), n)),
  );
  fc.assert(
    fc.property(
      fc.integer({ min: -0x80000000, max: 0x7fffffff }),
      (n) => assert.equal(decode(int32, encode(int32, n)), n),
    ),
  );
  fc.assert(
    fc.property(
      fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
      (n) => assert.equal(decode(uint64, encode(uint64, n)), n),
    ),
  );
});
