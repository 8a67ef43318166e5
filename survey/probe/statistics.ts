/** Order statistics that every report uses. */

/** The value below which the share `q` (0 to 1) of `values` lies: the element at floor(q * n), as the fixtures count. */
export function percentile(values: readonly number[], q: number): number {
  if (values.length === 0) return NaN;
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
}
