/**
 * BLAKE2b without key, salt and personalisation, for any output length: Bun has the 32-byte form natively, `node:crypto` has
 * neither that nor the 24 bytes of a sealed box's nonce. Source: RFC 7693.
 */

/** SHA-512's initial state, each 64-bit word as its low half, then its high half. */
const INITIAL = new Uint32Array([
  ...[0xf3bcc908, 0x6a09e667, 0x84caa73b, 0xbb67ae85, 0xfe94f82b, 0x3c6ef372, 0x5f1d36f1, 0xa54ff53a],
  ...[0xade682d1, 0x510e527f, 0x2b3e6c1f, 0x9b05688c, 0xfb41bd6b, 0x1f83d9ab, 0x137e2179, 0x5be0cd19],
]);

/** Order of the message words per round, as positions in {@link M}; rounds 10 and 11 repeat rounds 0 and 1. */
const SIGMA = Uint8Array.from(
  "0123456789abcdef" + "ea489fd61c02b753" + "b8c052fdae367194" + "7931dcbe265a40f8" + "905724afe1bc683d" +
    "2c6a0b834d75fe19" + "c51fed4a0763928b" + "db7ec13950f4862a" + "6fe9b308c2d714a5" + "a2847615fb9e3cd0" +
    "0123456789abcdef" + "ea489fd61c02b753",
  (digit) => 2 * parseInt(digit, 16),
);

const V = new Uint32Array(32);
const M = new Uint32Array(32);
const H = new Uint32Array(16);
const LAST = new Uint8Array(128);

/** RFC 7693's G on the words `a` to `d` of {@link V} with the message words `x` and `y`; all are positions of low halves. */
function mix(a: number, b: number, c: number, d: number, x: number, y: number): void {
  let al = V[a], ah = V[a + 1], bl = V[b], bh = V[b + 1], cl = V[c], ch = V[c + 1], dl = V[d], dh = V[d + 1];
  // A sum of low halves is below 2^34, so it is exact, and what exceeds 32 bits is the carry.
  let sum = al + bl + M[x];
  ah = (ah + bh + M[x + 1] + ((sum / 4294967296) | 0)) | 0;
  al = sum | 0;
  let l = dl ^ al, h = dh ^ ah;
  dl = h; // rotated by 32
  dh = l;
  sum = (cl >>> 0) + (dl >>> 0);
  ch = (ch + dh + ((sum / 4294967296) | 0)) | 0;
  cl = sum | 0;
  l = bl ^ cl;
  h = bh ^ ch;
  bl = (l >>> 24) | (h << 8);
  bh = (h >>> 24) | (l << 8);
  sum = (al >>> 0) + (bl >>> 0) + M[y];
  ah = (ah + bh + M[y + 1] + ((sum / 4294967296) | 0)) | 0;
  al = sum | 0;
  l = dl ^ al;
  h = dh ^ ah;
  dl = (l >>> 16) | (h << 16);
  dh = (h >>> 16) | (l << 16);
  sum = (cl >>> 0) + (dl >>> 0);
  ch = (ch + dh + ((sum / 4294967296) | 0)) | 0;
  cl = sum | 0;
  l = bl ^ cl;
  h = bh ^ ch;
  V[a] = al;
  V[a + 1] = ah;
  V[b] = (h >>> 31) | (l << 1); // rotated by 63
  V[b + 1] = (l >>> 31) | (h << 1);
  V[c] = cl;
  V[c + 1] = ch;
  V[d] = dl;
  V[d + 1] = dh;
}

/** Takes the 128 bytes of `bytes` at `at` into {@link H}; `count` bytes are in after it. */
function compress(bytes: Uint8Array, at: number, count: number, last: boolean): void {
  for (let i = 0; i < 32; i++, at += 4) {
    M[i] = bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
  }
  V.set(H);
  V.set(INITIAL, 16);
  V[24] ^= count;
  V[25] ^= count / 4294967296;
  if (last) {
    V[28] = ~V[28];
    V[29] = ~V[29];
  }
  for (let s = 0; s < 192; s += 16) {
    mix(0, 8, 16, 24, SIGMA[s], SIGMA[s + 1]);
    mix(2, 10, 18, 26, SIGMA[s + 2], SIGMA[s + 3]);
    mix(4, 12, 20, 28, SIGMA[s + 4], SIGMA[s + 5]);
    mix(6, 14, 22, 30, SIGMA[s + 6], SIGMA[s + 7]);
    mix(0, 10, 20, 30, SIGMA[s + 8], SIGMA[s + 9]);
    mix(2, 12, 22, 24, SIGMA[s + 10], SIGMA[s + 11]);
    mix(4, 14, 16, 26, SIGMA[s + 12], SIGMA[s + 13]);
    mix(6, 8, 18, 28, SIGMA[s + 14], SIGMA[s + 15]);
  }
  for (let i = 0; i < 16; i++) H[i] ^= V[i] ^ V[i + 16];
}

/** BLAKE2b of `data` with `length` (1 to 64) bytes of output. A shorter output is another hash, not a prefix of a longer. */
export function blake2b(data: Uint8Array, length = 32): Uint8Array<ArrayBuffer> {
  H.set(INITIAL);
  H[0] ^= 0x01010000 ^ length;
  let at = 0;
  // The last block, full or not, is compressed with the mark of the last.
  for (; data.length - at > 128; at += 128) compress(data, at, at + 128, false);
  const left = data.length - at;
  for (let i = 0; i < left; i++) LAST[i] = data[at + i];
  LAST.fill(0, left);
  compress(LAST, 0, data.length, true);
  const out = new Uint8Array(length);
  for (let i = 0; i < length; i++) out[i] = H[i >> 2] >>> (8 * (i & 3));
  return out;
}
