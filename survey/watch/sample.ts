/** A bounded sample of a quantity, with the percentiles that the fixtures count by. */
import { SeededRandom } from "../../overlay/base/random.ts";
import { percentile } from "../probe/statistics.ts";

/** Values kept; up to here percentiles are exact. */
export const SAMPLE_SIZE = 8192;

/**
 * Keeps every value up to {@link SAMPLE_SIZE}, and from there on a uniform sample of all (Vitter's algorithm R, seeded: the
 * same values give the same sample). BOUNDED: that many numbers.
 */
export class Sample {
  readonly #values: number[] = [];
  readonly #size: number;
  #random: SeededRandom | undefined;
  /** Values ever added. */
  count = 0;
  max = 0;

  constructor(size: number = SAMPLE_SIZE) {
    this.#size = size;
  }

  add(value: number): void {
    this.count++;
    if (value > this.max) this.max = value;
    if (this.#values.length < this.#size) {
      this.#values.push(value);
      return;
    }
    this.#random ??= new SeededRandom(1);
    const at = this.#random.int(this.count);
    if (at < this.#size) this.#values[at] = value;
  }

  /** The kept values, in no order. */
  get values(): readonly number[] {
    return this.#values;
  }

  /** The element at floor(q n) of the ascending list; undefined without values. */
  percentile(q: number): number | undefined {
    return this.#values.length === 0 ? undefined : percentile(this.#values, q);
  }
}
