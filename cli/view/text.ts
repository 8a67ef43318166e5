/** Text in cells: its width on a terminal, cut and padded to it, and numbers short enough for narrow columns. */
import stringWidth from "string-width";

// Printable ASCII: a cell a character.
const PLAIN = /^[ -~]*$/;
const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** Cells that `text` takes; a wide character takes two. */
export function widthOf(text: string): number {
  return PLAIN.test(text) ? text.length : stringWidth(text);
}

/** `text` in at most `width` cells; what is cut ends with an ellipsis. Never half a character. */
export function cut(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  if (width <= 1) return width === 1 ? "…" : "";
  if (PLAIN.test(text)) return text.slice(0, width - 1) + "…";
  let kept = "", used = 0;
  for (const { segment } of graphemes.segment(text)) {
    const size = widthOf(segment);
    if (used + size > width - 1) break;
    kept += segment;
    used += size;
  }
  return kept + "…";
}

/** `text` in exactly `width` cells. */
export function fit(text: string, width: number, align: "left" | "right" = "left"): string {
  const short = cut(text, width), room = " ".repeat(Math.max(0, width - widthOf(short)));
  return align === "left" ? short + room : room + short;
}

/** Breaks `text` into at most `most` lines of `width` cells, at blanks where it can; the last one is cut. */
export function wrapCells(text: string, width: number, most: number): string[] {
  const lines: string[] = [];
  let rest = text;
  while (rest !== "" && lines.length < most - 1 && widthOf(rest) > width) {
    let head = "", used = 0;
    for (const { segment } of graphemes.segment(rest)) {
      const size = widthOf(segment);
      if (used + size > width) break;
      head += segment;
      used += size;
    }
    const blank = head.lastIndexOf(" ");
    if (blank > 0) head = head.slice(0, blank);
    if (head === "") break;
    lines.push(head.trimEnd());
    rest = rest.slice(head.length).trimStart();
  }
  if (rest !== "") lines.push(cut(rest, width));
  return lines;
}

/** `812`, `12.3k`, `4.51M`, at most five characters up to a thousand million. */
export function shortCount(value: number): string {
  const whole = Math.round(value);
  if (whole < 10_000) return String(whole);
  if (value < 99_950) return `${(value / 1000).toFixed(1)}k`;
  if (value < 999_500) return `${Math.round(value / 1000)}k`;
  if (value < 99_950_000) return `${(value / 1e6).toFixed(1)}M`;
  if (value < 999_500_000) return `${Math.round(value / 1e6)}M`;
  return `${(value / 1e9).toFixed(1)}G`;
}

/** A rate: `0`, `0.4`, `12.5`, then as {@link shortCount}. */
export function shortRate(value: number): string {
  return value === 0 ? "0" : value < 99.95 ? value.toFixed(1) : shortCount(value);
}

/** A duration on a clock: `12s`, `3m05s`, `2h07m`, `4d03h`. */
export function span(durationMs: number): string {
  const seconds = Math.max(0, Math.floor(durationMs / 1000));
  const two = (value: number) => String(value).padStart(2, "0");
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${two(seconds % 60)}s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)}h${two(Math.floor(seconds / 60) % 60)}m`;
  return `${Math.floor(seconds / 86_400)}d${two(Math.floor(seconds / 3600) % 24)}h`;
}

/** A share, 0 to 1: `0%`, `<1%`, `42%`. */
export function percent(share: number): string {
  if (share > 0 && share < 0.005) return "<1%";
  return `${Math.round(share * 100)}%`;
}

/** Time of day in UTC, `HH:MM:SS`. */
export function timeOfDay(wallMs: number): string {
  return new Date(wallMs).toISOString().slice(11, 19);
}
