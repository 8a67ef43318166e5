/** Text of HTML pages: escaping, and tables that read well aloud and on a telephone. */
import { escapeRemoteText } from "../../overlay/base/bytes.ts";

/** Text for HTML: control characters of remotes shown as escapes, and nothing left that is markup. */
export function html(text: string): string {
  return escapeRemoteText(text).replace(/[&<>"']/g, (mark) => `&#${mark.charCodeAt(0)};`);
}

/** One column of an HTML table. */
export interface HtmlColumn<T> {
  title: string;
  /** Text of a cell; escaped here. */
  value: (row: T) => string;
  /** Numbers stand at the right. */
  number?: boolean;
  /** The column that names the row. */
  head?: boolean;
  /** Shown when the pointer rests on the cell, such as a whole node id. */
  hint?: (row: T) => string | undefined;
}

/** A table with a caption, scrolled sideways by itself when it is wider than the page. Empty without rows. */
export function htmlTable<T>(caption: string, rows: readonly T[], columns: readonly HtmlColumn<T>[]): string {
  if (rows.length === 0) return "";
  const kind = (column: HtmlColumn<T>) => column.number ? ` class="n"` : "";
  const head = columns.map((column) => `<th scope="col"${kind(column)}>${html(column.title)}</th>`).join("");
  const body = rows.map((row) => {
    const cells = columns.map((column) => {
      const hint = column.hint?.(row);
      const title = hint === undefined || hint === "" ? "" : ` title="${html(hint)}"`;
      const text = html(column.value(row));
      return column.head ? `<th scope="row"${title}>${text}</th>` : `<td${kind(column)}${title}>${text}</td>`;
    });
    return `<tr>${cells.join("")}</tr>`;
  });
  return `<div class="scroll" tabindex="0" role="region" aria-label="${html(caption)}"><table><caption>${
    html(caption)
  }</caption>` +
    `<thead><tr>${head}</tr></thead><tbody>${body.join("\n")}</tbody></table></div>\n`;
}
