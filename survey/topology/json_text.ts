/**
 * JSON as survey files need it: whole numbers beyond 2^53 survive, a syntax error names its line, and the printed text can be
 * byte for byte what stellar-core or OverlaySurvey.py would have written.
 */

/** What {@link parseJson} gives. Whole numbers that a double cannot hold exactly are bigints. */
export type Json = null | boolean | number | bigint | string | Json[] | { [key: string]: Json };

/** Not JSON: what is wrong, and where. */
export class JsonSyntaxError extends Error {
  constructor(readonly line: number, readonly column: number, readonly reason: string) {
    super(`line ${line}, column ${column}: ${reason}`);
    this.name = "JsonSyntaxError";
  }
}

/** Reads a JSON text. @throws JsonSyntaxError */
export function parseJson(text: string): Json {
  try {
    // A reviver is slow, and needed only where such a number may stand.
    if (!/\d{16}/.test(text)) return JSON.parse(text);
    return JSON.parse(
      text,
      ((_: string, value: unknown, context: { source?: string }) =>
        typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(context.source ?? "")
          ? BigInt(context.source!)
          : value) as (this: unknown, key: string, value: unknown) => unknown,
    );
  } catch (error) {
    if (error instanceof SyntaxError) throw locate(text);
    if (error instanceof RangeError) throw new JsonSyntaxError(1, 1, "lists or objects are nested too deep");
    throw error;
  }
}

const TOKEN =
  /[\s]*(?:([{}[\],:])|("(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")|(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.+-]))|(true|false|null)(?!\w))/y;

/** Finds the place where a text stops being JSON: engines do not agree on telling it, and some do not tell it at all. */
function locate(text: string): JsonSyntaxError {
  const fail = (at: number, reason: string) => {
    const before = text.slice(0, at).split("\n");
    return new JsonSyntaxError(before.length, before[before.length - 1].length + 1, reason);
  };
  // What may come: a value, a key, or what follows one; and the brackets that are open. BOUNDED by the text's length.
  const open: string[] = [];
  let expect: "value" | "valueOrEnd" | "key" | "keyOrEnd" | "colon" | "more" | "end" = "value";
  const afterValue = () => (open.length === 0 ? "end" : "more") as typeof expect;
  let at = 0;
  for (;;) {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    if (match === null) {
      const rest = at + /^\s*/.exec(text.slice(at, at + 10_000))![0].length;
      if (rest < text.length) return fail(rest, "this is not JSON");
      return fail(
        text.length,
        expect === "end" ? "this is not JSON" : "the text ends in the middle: is the file cut off?",
      );
    }
    const [all, mark, string, number, word] = match;
    const start = at + all.length - (mark ?? string ?? number ?? word).length;
    at += all.length;
    const isValue = number !== undefined || word !== undefined || string !== undefined;
    if ((expect === "value" || expect === "valueOrEnd") && (isValue || mark === "{" || mark === "[")) {
      if (isValue) expect = afterValue();
      else {
        open.push(mark);
        expect = mark === "{" ? "keyOrEnd" : "valueOrEnd";
      }
    } else if ((expect === "key" || expect === "keyOrEnd") && string !== undefined) expect = "colon";
    else if (expect === "colon" && mark === ":") expect = "value";
    else if (expect === "more" && mark === ",") expect = open[open.length - 1] === "{" ? "key" : "value";
    else if (
      (mark === "}" && open[open.length - 1] === "{" && (expect === "more" || expect === "keyOrEnd")) ||
      (mark === "]" && open[open.length - 1] === "[" && (expect === "more" || expect === "valueOrEnd"))
    ) {
      open.pop();
      expect = afterValue();
    } else {return fail(
        start,
        expect === "end" ? "more follows after the end of the document" : `unexpected ${all.trim().slice(0, 20)}`,
      );}
  }
}

/** Text of a string as JSON, with what is not Unicode replaced by U+FFFD. */
function quote(text: string): string {
  return JSON.stringify(text.isWellFormed() ? text : text.toWellFormed());
}

/** stellar-core's quoting: upper-case hex, and DEL and the like as they are. */
function quoteAsCore(text: string): string {
  return quote(text).replace(/\\u([0-9a-f]{4})/g, (_, hex: string) => `\\u${hex.toUpperCase()}`);
}

/** Fields of an object that have a value, in the order of their bytes when `sorted`. */
function entries(value: { [key: string]: Json }, sorted: boolean): [string, Json][] {
  const found = Object.entries(value).filter(([, item]) => item !== undefined);
  return sorted ? found.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)) : found;
}

/** Columns beyond which jsoncpp breaks an array of plain values. Source: jsoncpp json_writer.cpp StyledWriter, rightMargin_. */
const RIGHT_MARGIN = 74;

/**
 * JSON as stellar-core's HTTP commands print it: jsoncpp's styled form, three blanks of indent, ` : `, sorted keys, short arrays
 * of plain values on one line, a newline at the end.
 */
export function printAsCore(value: Json): string {
  const print = (item: Json, indent: string): string => {
    if (item === null || typeof item !== "object") return typeof item === "string" ? quoteAsCore(item) : String(item);
    const deeper = indent + "   ";
    if (Array.isArray(item)) {
      if (item.length === 0) return "[]";
      const nested = item.some((part) => part !== null && typeof part === "object" && Object.keys(part).length > 0);
      if (!nested && item.length * 3 < RIGHT_MARGIN) {
        const parts = item.map((part) => print(part, deeper));
        const width = 4 + (parts.length - 1) * 2 + parts.reduce((sum, part) => sum + part.length, 0);
        if (width < RIGHT_MARGIN) return `[ ${parts.join(", ")} ]`;
      }
      return `[\n${item.map((part) => deeper + print(part, deeper)).join(",\n")}\n${indent}]`;
    }
    const fields = entries(item, true);
    if (fields.length === 0) return "{}";
    const lines = fields.map(([key, part]) => `${deeper}${quoteAsCore(key)} : ${print(part, deeper)}`);
    return `{\n${lines.join(",\n")}\n${indent}}`;
  };
  return print(value, "") + "\n";
}

/**
 * JSON as Python's `json.dump` prints it: one line, `, ` and `: `, all but ASCII escaped, keys in the order given. Fields that
 * are undefined are left out.
 */
export function printAsPython(value: Json): string {
  const text = (item: string) =>
    quote(item).replace(/[\u007f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
  const print = (item: Json): string => {
    if (item === null || typeof item !== "object") return typeof item === "string" ? text(item) : String(item);
    if (Array.isArray(item)) return `[${item.map(print).join(", ")}]`;
    return `{${entries(item, false).map(([key, part]) => `${text(key)}: ${print(part)}`).join(", ")}}`;
  };
  return print(value);
}

/**
 * JSON for people: two blanks of indent, keys in the order given, objects and lists without nested ones on one line. Bigints
 * become strings, as in all our documents.
 */
export function printPretty(value: Json): string {
  const print = (item: Json, indent: string): string => {
    if (typeof item === "bigint") return `"${item}"`;
    if (item === null || typeof item !== "object") return typeof item === "string" ? quote(item) : String(item);
    const list = Array.isArray(item);
    const parts: [string, Json][] = list ? item.map((part) => ["", part]) : entries(item, false);
    const nested = parts.some(([, part]) => part !== null && typeof part === "object");
    const deeper = indent + "  ";
    const texts = parts.map(([key, part]) => `${list ? "" : `${quote(key)}: `}${print(part, nested ? deeper : "")}`);
    const [open, close] = list ? "[]" : "{}";
    if (parts.length === 0) return open + close;
    return nested
      ? `${open}\n${texts.map((text) => deeper + text).join(",\n")}\n${indent}${close}`
      : `${open}${texts.join(", ")}${close}`;
  };
  return print(value, "") + "\n";
}
