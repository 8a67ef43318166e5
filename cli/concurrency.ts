/**
 * Runs `work` over `items`, at most `limit` at a time, and never two with the same `key` at once. The results keep the order
 * of the items.
 */
export async function mapLimited<T, R>(
  items: readonly T[],
  limit: number,
  key: (item: T) => string,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = new Array(items.length);
  // Items of one key share a lane of their own: one after the other.
  const byKey = new Map<string, number[]>();
  items.forEach((item, at) => {
    const lane = byKey.get(key(item));
    if (lane === undefined) byKey.set(key(item), [at]);
    else lane.push(at);
  });
  const lanes = [...byKey.values()];
  let next = 0;
  const worker = async () => {
    while (next < lanes.length) {
      for (const at of lanes[next++]) results[at] = await work(items[at]);
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, lanes.length) }, worker));
  return results;
}
