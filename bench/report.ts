/** What a benchmark gives back, and how it is printed. */

/** How to run. */
export interface Options {
  /** Fewer and shorter rounds. */
  quick: boolean;
}

/** A ratio that was measured, and the one that was hoped for. It decides nothing. */
export interface Aim {
  what: string;
  /** Median over the rounds of ours divided by the reference of the same round. */
  ratio: number;
  aim: number;
}

/** Result of one benchmark. */
export interface Measured {
  name: string;
  title: string;
  /** Medians per variant; `rounds` is how many there were. */
  rows: { variant: string; rounds: number; values: Record<string, number>; ratios: Record<string, number> }[];
  aims: Aim[];
  notes?: string[];
}

/** Middle of the values. */
export function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b), half = sorted.length >> 1;
  if (sorted.length === 0) return NaN;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** Collects the rounds of several variants that were run in turn. The first variant is the reference of all ratios. */
export class Rows<V extends string> {
  readonly #variants: readonly V[];
  readonly #rounds = new Map<V, Record<string, number>[]>();

  constructor(variants: readonly V[]) {
    this.#variants = variants;
    for (const variant of variants) this.#rounds.set(variant, []);
  }

  add(variant: V, values: Record<string, number>): void {
    this.#rounds.get(variant)!.push(values);
  }

  /** Median of the round-by-round ratio of `variant` to `reference`. */
  ratio(variant: V, key: string, reference: V): number {
    const ours = this.#rounds.get(variant)!, theirs = this.#rounds.get(reference)!;
    return median(ours.map((values, i) => values[key] / theirs[i]?.[key]).filter(Number.isFinite));
  }

  aim(variant: V, key: string, reference: V, aim: number, what: string): Aim {
    return { what, ratio: this.ratio(variant, key, reference), aim };
  }

  result(): Measured["rows"] {
    return this.#variants.map((variant) => {
      const rounds = this.#rounds.get(variant)!;
      const keys = Object.keys(rounds[0] ?? {});
      return {
        variant,
        rounds: rounds.length,
        values: Object.fromEntries(keys.map((key) => [key, median(rounds.map((values) => values[key]))])),
        ratios: Object.fromEntries(keys.map((key) => [key, this.ratio(variant, key, this.#variants[0])])),
      };
    });
  }
}

function show(value: number): string {
  if (value >= 1000) return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ",");
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** A table people read: median, and in brackets the ratio to the first row. */
export function render(measured: Measured): string {
  const lines = [measured.title];
  const keys = Object.keys(measured.rows[0]?.values ?? {});
  const cells = [
    ["", ...keys],
    ...measured.rows.map((row, i) => [
      row.variant,
      ...keys.map((key) => show(row.values[key]) + (i === 0 ? "" : ` (${row.ratios[key].toFixed(2)}x)`)),
    ]),
  ];
  const widths = cells[0].map((_, column) => Math.max(...cells.map((row) => row[column].length)));
  for (const row of cells) {
    lines.push("  " + row.map((cell, i) => i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])).join("  "));
  }
  for (const aim of measured.aims) {
    lines.push(
      `  ${aim.what}: ${aim.ratio.toFixed(2)}x, aim ${aim.aim}x ${aim.ratio <= aim.aim ? "reached" : "missed"}`,
    );
  }
  for (const note of measured.notes ?? []) lines.push(`  ${note}`);
  return lines.join("\n");
}
