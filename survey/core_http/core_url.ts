/** The address of a stellar-core's HTTP endpoint, as its operator writes it. */
import { OverlayError } from "../../overlay/base/errors.ts";

/** HTTP_PORT unless configured. Source: stellar-core Config.cpp DEFAULT_HTTP_PORT. */
export const DEFAULT_HTTP_PORT = 11626;

/** A parsed address. */
export interface CoreUrl {
  readonly secure: boolean;
  /** Name, IPv4, or IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  /** Begins with `/` unless empty; never ends with it: for a proxy that has the node below a path. */
  readonly prefix: string;
  /** The address in full, for messages. */
  readonly text: string;
}

/**
 * Reads `http://127.0.0.1:11626`, `https://core.example/node1` or just `127.0.0.1:11626`. Without a port it is 11626 for http,
 * 443 for https: a proxy on port 80 is written `:80`. `argument` names the text in errors.
 * @throws OverlayError `invalid_argument`
 */
export function parseCoreUrl(text: string, argument = "url"): CoreUrl {
  const fail = (reason: string, cause?: unknown) =>
    new OverlayError({ code: "invalid_argument", argument, reason }, { cause });
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1].toLowerCase() ?? "http";
  if (scheme !== "http" && scheme !== "https") throw fail(`only http and https are spoken, not ${scheme}`);
  const full = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  let url: URL;
  try {
    url = new URL(full);
  } catch (error) {
    throw fail(`not an address such as http://127.0.0.1:${DEFAULT_HTTP_PORT}`, error);
  }
  if (url.username !== "" || url.password !== "") throw fail("a user name or password is not taken");
  if (url.search !== "" || url.hash !== "") throw fail("the address of the node only, without ? and #");
  if (url.hostname === "") throw fail("it names no host");
  // URL drops a port that is the scheme's own, so it is read from the text.
  const written = /^[^/]*\/\/(?:\[[^\]]*\]|[^/:?#]*):(\d+)/.exec(full)?.[1];
  const port = written !== undefined ? Number(written) : scheme === "https" ? 443 : DEFAULT_HTTP_PORT;
  if (port < 1 || port > 65535) throw fail("a port is 1 to 65535");
  const prefix = url.pathname.replace(/\/+$/, "");
  return {
    secure: scheme === "https",
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port,
    prefix,
    text: `${scheme}://${url.hostname}:${port}${prefix}`,
  };
}

/** Whether a host is this machine by its name or address. */
export function isLoopbackHost(host: string): boolean {
  return /^localhost$|^127\.\d+\.\d+\.\d+$|^::1$/i.test(host);
}
