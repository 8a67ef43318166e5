/** Events of connections as lines for people and as NDJSON: the same for live ones, the proxy and a replay. */
import type { ChalkInstance } from "chalk";
import { escapeRemoteText } from "../../overlay/base/bytes.ts";
import type { ViewEvent } from "../../survey/capture/view.ts";
import { toJson } from "./json.ts";
import { bytes, count, ms, shortId } from "./style.ts";

/** One line for programs. Its first line, of type start, names the schema. */
export function eventJson(event: ViewEvent): string {
  const { type, ...fields } = event;
  return toJson(type === "start" ? { schema: "stellar-overlay/frames/1", type, ...fields } : { type, ...fields }, 0) +
    "\n";
}

/** One line for people. */
export function eventLine(event: ViewEvent, c: ChalkInstance): string {
  const text = (value: unknown) => escapeRemoteText(String(value));
  const who = `${text(event.address ?? "")}${event.nodeId ? ` ${shortId(event.nodeId)}` : ""}`;
  const head = `${c.dim(event.at)} ${event.connection === undefined ? "" : `#${event.connection} `}${who}`.trimEnd();
  switch (event.type) {
    case "start":
      return `${c.dim(event.at)} ${c.bold("capture")} of ${text(event.command || event.tool)}${
        event.network === "" ? "" : `, network ${text(event.network)}`
      }\n`;
    case "open":
      return `${head} ${c.green("connected")} (${event.role === "weCalledRemote" ? "we called" : "it called"})\n`;
    case "dialFailed":
      return `${head} ${c.yellow("not reached")}: ${text((event.failure as { code?: string }).code)} after ${
        ms(event.afterMs as number)
      }\n`;
    case "end":
      return `${head} ${c.yellow("ended")} by ${event.by} (${text(event.how)}${
        event.reason === "" ? "" : ` ${text(event.reason)}`
      }), ${count(event.received as number, "message")} received, ${event.sent} sent\n`;
    case "raw":
      return `${head} ${arrow(event, c)} ${
        c.red(`${bytes(event.bytes as number)} that are no frame`)
      }: ${event.beginning}\n`;
    case "lost":
      return `${head}${c.red(`${count(event.records as number, "record")} lost: the disk did not keep up`)}\n`;
    case "resolved":
      return `${head} ${text(event.host)} is ${
        text((event.addresses as string[]).join(", ") || `not resolved: ${event.reason}`)
      }\n`;
    case "clockStepped":
      return `${head}${c.yellow("the wall clock was stepped")}\n`;
    case "message": {
      const { type: _, at: _at, ms: _ms, connection: _c, address: _a, nodeId: _n, direction: _d, message, ...rest } =
        event;
      const { bytes: size, sequence: _s, mac, problem, ...fields } = rest;
      const shown = Object.entries(fields).map(([name, value]) => `${name} ${text(short(value))}`).join(", ");
      const wrong = [
        mac === "mac" ? "MAC WRONG" : mac === "sequence" ? "SEQUENCE WRONG" : "",
        problem ? text(problem) : "",
      ]
        .filter((part) => part !== "").join(" ");
      return `${head} ${arrow(event, c)} ${c.bold(text(message))} ${bytes(size as number)}${
        shown === "" ? "" : `  ${shown}`
      }${wrong === "" ? "" : `  ${c.red(wrong)}`}\n`;
    }
  }
}

function arrow(event: ViewEvent, c: ChalkInstance): string {
  return event.direction === "received" ? c.cyan("<-") : c.magenta("->");
}

/** Hashes and ids by their beginning, lists by their length. */
function short(value: unknown): unknown {
  if (Array.isArray(value)) return value.length > 3 ? `${value.slice(0, 3).join(" ")} …` : value.join(" ");
  if (typeof value !== "string") return value;
  if (/^[0-9a-f]{64}$/.test(value)) return value.slice(0, 8);
  if (/^G[A-Z2-7]{55}$/.test(value)) return shortId(value);
  return value;
}
