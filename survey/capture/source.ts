/** Records from files: captures and recorded sessions, several merged into one by their wall time. */
import { OverlayError } from "../../overlay/base/errors.ts";
import type { CaptureRecord } from "./format.ts";
import { isCapture } from "./format.ts";
import { type CaptureNotice, readCapture } from "./reader.ts";
import { isSessionText, recordsOfSession } from "./session_file.ts";
import { readChunks } from "./writer.ts";

/** Longest recorded session that is read; unlike captures they are read whole. */
const MAX_SESSION_BYTES = 512 * 1024 * 1024;

/**
 * The records of one file, in order; `onNotice` hears of what is damaged or cut.
 * @throws OverlayError `file_unreadable`, `capture_invalid`
 */
export function* recordsOfFile(path: string, onNotice: (notice: CaptureNotice) => void): Generator<CaptureRecord> {
  const chunks = readChunks(path);
  const first = chunks.next();
  const bytes = first.done ? new Uint8Array(0) : first.value;
  if (!isCapture(bytes) && isSessionText(new TextDecoder().decode(bytes.subarray(0, 4096)))) {
    const decoder = new TextDecoder();
    let text = decoder.decode(bytes, { stream: true });
    for (const chunk of chunks) {
      text += decoder.decode(chunk, { stream: true });
      if (text.length > MAX_SESSION_BYTES) {
        throw new OverlayError({
          code: "capture_invalid",
          path,
          offset: MAX_SESSION_BYTES,
          reason: "the session is too long",
        });
      }
    }
    yield* recordsOfSession(text + decoder.decode(), path);
    return;
  }
  const all = function* () {
    yield bytes;
    yield* chunks;
  };
  for (const item of readCapture(all(), path)) {
    if ("notice" in item) onNotice(item.notice);
    else yield item.record;
  }
}

/** When a record happened, µs since the last start; undefined for start itself. */
export function timeOf(record: CaptureRecord): bigint | undefined {
  if (record.type === "start") return undefined;
  return (record as unknown as Record<string, { atUs: bigint }>)[record.type].atUs;
}

/** The same record at another time, and with another connection number where it has one. */
function moved(record: CaptureRecord, atUs: bigint, connection: (n: number) => number): CaptureRecord {
  // deno-lint-ignore no-explicit-any
  const body = { ...(record as any)[record.type], atUs };
  if ("connection" in body) body.connection = connection(body.connection);
  if ("dialledUs" in body) body.dialledUs = body.dialledUs + (atUs - timeOf(record)!);
  return { type: record.type, [record.type]: body } as unknown as CaptureRecord;
}

/**
 * Several sources as one: by wall time, under one start, connections numbered anew. Each source must hold one start, its
 * first record. One source alone is left as it is.
 * @throws OverlayError `capture_invalid` for a source with several starts, or without one
 */
export function mergeRecords(
  sources: readonly { path: string; records: Iterable<CaptureRecord> }[],
): Iterable<CaptureRecord> {
  return sources.length === 1 ? sources[0].records : merged(sources);
}

function* merged(sources: readonly { path: string; records: Iterable<CaptureRecord> }[]): Generator<CaptureRecord> {
  const heads = sources.map(({ path, records }) => {
    const iterator = records[Symbol.iterator]();
    const first = iterator.next();
    if (first.done || first.value.type !== "start") {
      throw new OverlayError({ code: "capture_invalid", path, offset: 0, reason: "its first record is no start" });
    }
    return { path, iterator, start: first.value.start, next: iterator.next(), connections: new Map<number, number>() };
  });
  const firstMs = heads.reduce(
    (least, { start }) => start.wallMs < least ? start.wallMs : least,
    heads[0].start.wallMs,
  );
  const networks = new Set(heads.map(({ start }) => start.network));
  const { tool, command } = heads[0].start;
  yield {
    type: "start",
    start: { wallMs: firstMs, tool, command, network: networks.size === 1 ? heads[0].start.network : "" },
  };
  let connections = 0;
  while (true) {
    let best: (typeof heads)[number] | undefined, bestUs = 0n;
    for (const head of heads) {
      if (head.next.done) continue;
      const time = timeOf(head.next.value);
      if (time === undefined) {
        const reason = "several captures in one file are not merged with others; replay it alone";
        throw new OverlayError({ code: "capture_invalid", path: head.path, offset: 0, reason });
      }
      const atUs = (head.start.wallMs - firstMs) * 1000n + time;
      if (best === undefined || atUs < bestUs) [best, bestUs] = [head, atUs];
    }
    if (best === undefined) return;
    const { connections: numbers } = best;
    // A stepped wall clock of one source says nothing of the others.
    if (best.next.value.type !== "wall") {
      yield moved(best.next.value, bestUs, (n) => {
        let number = numbers.get(n);
        if (number === undefined) numbers.set(n, number = ++connections);
        return number;
      });
    }
    best.next = best.iterator.next();
  }
}
