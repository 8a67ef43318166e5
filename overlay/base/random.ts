/** Randomness as a port: the system's, or a seeded one that repeats. */
import { randomFillSync } from "node:crypto";

/** Where the engine takes randomness from. */
export interface Random {
  /** `n` new random bytes. */
  bytes(n: number): Uint8Array;
  /** A number in [0, 1). */
  next(): number;
  /** A whole number in [0, below). */
  int(below: number): number;
}

/** The operating system's randomness: for keys, nonces and everything outside simulations. */
export const systemRandom: Random = {
  bytes: (n) => randomFillSync(new Uint8Array(n)),
  next: () => Math.random(),
  int: (below) => Math.floor(Math.random() * below),
};

/** A sequence fixed by its seed (mulberry32): for simulations and tests. Not for secrets. */
export class SeededRandom implements Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  int(below: number): number {
    return Math.floor(this.next() * below);
  }

  bytes(n: number): Uint8Array {
    const out = new Uint8Array(n);
    for (let i = 0; i < n; i++) out[i] = Math.floor(this.next() * 256);
    return out;
  }
}

/** Shuffles `items` in place (Fisher-Yates) and returns them. */
export function shuffle<T>(random: Random, items: T[]): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = random.int(i + 1);
    [items[i], items[j]] = [items[j], items[i]];
  }
  return items;
}
