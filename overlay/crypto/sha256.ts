/**
 * SHA-256 in plain TypeScript, made for HMAC over short messages: a state that already holds the key block is cheaper to
 * continue here than to enter Deno's or Node's `node:crypto`. Source: FIPS 180-4.
 */

/** The first 32 bits of the fractional part of `root(prime)`, for the first `n` primes. */
function primeRoots(n: number, root: (x: number) => number): Int32Array<ArrayBuffer> {
  const out = new Int32Array(n);
  for (let p = 2, i = 0; i < n; p++) {
    let prime = true;
    for (let q = 2; q * q <= p && prime; q++) prime = p % q !== 0;
    if (prime) out[i++] = Math.floor((root(p) % 1) * 4294967296);
  }
  return out;
}

const K = primeRoots(64, Math.cbrt);
const INITIAL = primeRoots(8, Math.sqrt);
const W = new Int32Array(64);
const TAIL = new Uint8Array(128);

/** Takes the 64 bytes of `bytes` at `at` into the state `h` (8 words). */
function compress(h: Int32Array, bytes: Uint8Array, at: number): void {
  for (let i = 0; i < 16; i++, at += 4) {
    W[i] = (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
  }
  for (let i = 16; i < 64; i++) {
    const x = W[i - 15], y = W[i - 2];
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    W[i] = W[i - 16] + s0 + W[i - 7] + s1;
  }
  let a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], last = h[7];
  for (let i = 0; i < 64; i++) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const t1 = (last + s1 + (g ^ (e & (f ^ g))) + K[i] + W[i]) | 0;
    const t2 = (s0 + ((a & b) | (c & (a | b)))) | 0;
    last = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  h[0] += a;
  h[1] += b;
  h[2] += c;
  h[3] += d;
  h[4] += e;
  h[5] += f;
  h[6] += g;
  h[7] += last;
}

/** Takes `data` and the padding into `h`, after `before` bytes (whole blocks) that it already holds; fills `out` (32 bytes). */
function finish(h: Int32Array, before: number, data: Uint8Array, out: Uint8Array): Uint8Array<ArrayBuffer> {
  const length = data.length, total = before + length;
  let at = 0;
  for (; at + 64 <= length; at += 64) compress(h, data, at);
  const left = length - at, end = left < 56 ? 64 : 128;
  for (let i = 0; i < left; i++) TAIL[i] = data[at + i];
  TAIL[left] = 0x80;
  for (let i = left + 1; i < end - 8; i++) TAIL[i] = 0;
  const high = Math.floor(total / 0x20000000), low = total << 3;
  for (let i = 0; i < 4; i++) {
    TAIL[end - 8 + i] = high >>> (24 - 8 * i);
    TAIL[end - 4 + i] = low >>> (24 - 8 * i);
  }
  compress(h, TAIL, 0);
  if (end === 128) compress(h, TAIL, 64);
  for (let i = 0; i < 8; i++) {
    const word = h[i], o = 4 * i;
    out[o] = word >>> 24;
    out[o + 1] = word >>> 16;
    out[o + 2] = word >>> 8;
    out[o + 3] = word;
  }
  return out as Uint8Array<ArrayBuffer>;
}

const WORK = new Int32Array(8);
const INNER = new Uint8Array(32);

/** SHA-256 of `data`: 32 new bytes. */
export function sha256Portable(data: Uint8Array): Uint8Array<ArrayBuffer> {
  WORK.set(INITIAL);
  return finish(WORK, 0, data, new Uint8Array(32));
}

/** The block of 64 bytes an HMAC-SHA256 hash begins with: `key` (at most 64 bytes) filled with zeros, XOR `pad`. */
export function keyBlock(key: Uint8Array, pad: number): Uint8Array<ArrayBuffer> {
  const block = new Uint8Array(64).fill(pad);
  for (let i = 0; i < key.length; i++) block[i] ^= key[i];
  return block;
}

/** RFC 2104's two pads. */
export const INNER_PAD = 0x36;
export const OUTER_PAD = 0x5c;

/** HMAC-SHA256 with both key blocks taken in at construction. `key`: at most 64 bytes. */
export class HmacSha256 {
  readonly #inner = INITIAL.slice();
  readonly #outer = INITIAL.slice();

  constructor(key: Uint8Array) {
    compress(this.#inner, keyBlock(key, INNER_PAD), 0);
    compress(this.#outer, keyBlock(key, OUTER_PAD), 0);
  }

  /** 32 new bytes. */
  mac(data: Uint8Array): Uint8Array<ArrayBuffer> {
    WORK.set(this.#inner);
    finish(WORK, 64, data, INNER);
    WORK.set(this.#outer);
    return finish(WORK, 64, INNER, new Uint8Array(32));
  }
}
