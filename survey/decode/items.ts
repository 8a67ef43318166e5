/** Everything that an input holds, explained one by one: frames of captures, sessions and streams, or one value. */
import { isCapture, RECORD_HEAD_BYTES } from "../capture/format.ts";
import type { CaptureRecord, Direction } from "../capture/format.ts";
import { MacChecker, type MacVerdict } from "../capture/macs.ts";
import { type CaptureNotice, readCapture } from "../capture/reader.ts";
import { recordsOfSession } from "../capture/session_file.ts";
import { type Explainer, type Explanation, messageNameOf } from "./explain.ts";
import { beginsAsFrame, type DecodeInput, explainFrames, guessValue } from "./input.ts";

/** Bytes of a frame record's payload before the frame: connection, time, direction, length. */
const FRAME_FIELDS_BYTES = 20;

/** One explained thing. */
export interface DecodedItem {
  /** Counts from 1. */
  n: number;
  /** What it is: `HELLO`, or the name of an XDR type. */
  title: string;
  explanation: Explanation;
  /** Its bytes. */
  bytes: Uint8Array;
  /** Only in captures and sessions. */
  captured?: { connection: number; direction: Direction; ms: number; mac: MacVerdict };
  /** Types that the bytes could be as well, when nobody named one. */
  others?: string[];
}

/** What decoding yields. */
export type Decoded = { item: DecodedItem } | { notice: CaptureNotice };

/**
 * Explains an input. `type` names an XDR type for bytes that are no frames; `path` is for messages.
 * @throws OverlayError `capture_invalid`, `invalid_argument`
 */
export function* decodeInput(
  explainer: Explainer,
  input: DecodeInput,
  options: { type?: string; path: string },
): Generator<Decoded> {
  const { form, bytes } = input;
  if (form === "capture" || form === "session") {
    yield* capturedFrames(explainer, recordsIn(input, options.path));
    return;
  }
  const { type } = options;
  if (type === "frame" || (type === undefined && beginsAsFrame(bytes))) {
    let n = 0;
    for (const explanation of explainFrames(explainer, bytes)) {
      const frame = bytes.subarray(explanation.offset, explanation.offset + explanation.bytes);
      yield { item: { n: ++n, title: messageNameOf(frame), explanation, bytes: frame } };
    }
    return;
  }
  const { explanation, others } = type === undefined
    ? guessValue(explainer, bytes)
    : { explanation: explainer.value(type, bytes), others: undefined };
  yield { item: { n: 1, title: explanation.type, explanation, bytes, ...(others === undefined ? {} : { others }) } };
}

/** Records with the place of each in the file; sessions have no places. */
function* recordsIn(
  input: DecodeInput,
  path: string,
): Generator<{ record: CaptureRecord; offset?: number } | { notice: CaptureNotice }> {
  if (isCapture(input.bytes)) yield* readCapture([input.bytes], path);
  else for (const record of recordsOfSession(new TextDecoder().decode(input.bytes), path)) yield { record };
}

function* capturedFrames(
  explainer: Explainer,
  found: Iterable<{ record: CaptureRecord; offset?: number } | { notice: CaptureNotice }>,
): Generator<Decoded> {
  const macs = new MacChecker();
  let n = 0;
  for (const entry of found) {
    if ("notice" in entry) {
      yield entry;
      continue;
    }
    const { record, offset } = entry;
    const mac = macs.add(record);
    if (record.type !== "frame" && record.type !== "raw") continue;
    const { connection, direction, atUs, bytes } = record.type === "frame" ? record.frame : record.raw;
    const base = offset === undefined ? 0 : offset + RECORD_HEAD_BYTES + FRAME_FIELDS_BYTES;
    const explanation = explainer.frame(bytes, base);
    const title = record.type === "frame" ? messageNameOf(bytes) : "bytes that are no frame";
    const captured = { connection, direction, ms: Number(atUs) / 1000, mac };
    yield { item: { n: ++n, title, explanation, bytes, captured } };
  }
}
