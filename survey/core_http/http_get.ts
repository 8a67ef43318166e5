/**
 * The one door for HTTP requests that leave this tool: a GET with a bound on its time and on its answer. Redirects are not
 * followed, proxies of the environment are not asked: a request goes to the host it names, or nowhere.
 */
import { type IncomingMessage, request as plainRequest } from "node:http";
import { request as tlsRequest } from "node:https";
import type { Clock } from "../../overlay/base/clock.ts";

/** Where a request goes. */
export interface HttpTarget {
  readonly secure: boolean;
  /** Name, IPv4, or IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  /** Path and query, as sent. */
  readonly path: string;
}

/** Bounds of one request. */
export interface HttpBounds {
  /** From the dial to the last byte, ms. */
  readonly timeoutMs: number;
  /** Length of the answer's body. */
  readonly maxBytes: number;
}

/** What came back: an answer, whole; or why there is none. */
export type HttpOutcome =
  | { readonly kind: "answer"; readonly status: number; readonly contentType: string; readonly body: string }
  /** Not connected: the system's word, such as ECONNREFUSED, ENOTFOUND, EHOSTUNREACH. */
  | { readonly kind: "unreachable"; readonly reason: string }
  /** Connected, and ended without a whole answer. `answered`: its head had come. */
  | { readonly kind: "lost"; readonly reason: string; readonly answered: boolean }
  /** What came is not HTTP. */
  | { readonly kind: "notHttp"; readonly reason: string }
  | { readonly kind: "timeout" }
  | { readonly kind: "tooLarge" }
  | { readonly kind: "aborted" };

const UNREACHABLE = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EAI_NODATA",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EHOSTDOWN",
  "ENETDOWN",
  "EADDRNOTAVAIL",
  "EACCES",
  "EPERM",
  "ETIMEDOUT",
  "EMFILE",
]);

/** Bytes of headers that are read at most. */
const MAX_HEADER_BYTES = 8192;

/** Sends one GET on a connection of its own. Never rejects. */
export function httpGet(
  to: HttpTarget,
  bounds: HttpBounds,
  clock: Clock,
  signal?: AbortSignal,
): Promise<HttpOutcome> {
  if (signal?.aborted) return Promise.resolve({ kind: "aborted" });
  return new Promise((resolve) => {
    let head: IncomingMessage | undefined;
    let isOver = false;
    const finish = (outcome: HttpOutcome) => {
      if (isOver) return;
      isOver = true;
      timer.cancel();
      signal?.removeEventListener("abort", abort);
      resolve(outcome);
      sent.destroy();
    };
    const abort = () => finish({ kind: "aborted" });
    const timer = clock.setTimer(bounds.timeoutMs, () => finish({ kind: "timeout" }));
    signal?.addEventListener("abort", abort, { once: true });

    const sent = (to.secure ? tlsRequest : plainRequest)({
      host: to.host,
      port: to.port,
      path: to.path,
      method: "GET",
      agent: false,
      maxHeaderSize: MAX_HEADER_BYTES,
      headers: { "Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "stellar-overlay" },
    });
    sent.on("error", (error: NodeJS.ErrnoException) => finish(outcomeOf(error, head !== undefined)));
    sent.on("response", (response) => {
      head = response;
      /** BOUNDED by `maxBytes` and one chunk. */
      const chunks: Uint8Array[] = [];
      let length = 0;
      response.on("data", (chunk: Uint8Array) => {
        length += chunk.length;
        if (length > bounds.maxBytes) finish({ kind: "tooLarge" });
        else chunks.push(chunk);
      });
      response.on("end", () => {
        if (!response.complete) return finish({ kind: "lost", reason: "closed in the middle", answered: true });
        finish({
          kind: "answer",
          status: response.statusCode ?? 0,
          contentType: response.headers["content-type"] ?? "",
          body: textOf(chunks, length),
        });
      });
      response.on("error", (error: NodeJS.ErrnoException) => finish(outcomeOf(error, true)));
      response.on("aborted", () => finish({ kind: "lost", reason: "closed in the middle", answered: true }));
      response.on("close", () => finish({ kind: "lost", reason: "closed in the middle", answered: true }));
    });
    sent.on("close", () => finish({ kind: "lost", reason: "closed", answered: head !== undefined }));
    sent.end();
  });
}

function outcomeOf(error: NodeJS.ErrnoException, answered: boolean): HttpOutcome {
  const code = error.code ?? error.message;
  if (code.startsWith("HPE_")) return { kind: "notHttp", reason: code };
  if (!answered && UNREACHABLE.has(code)) return { kind: "unreachable", reason: code };
  const reason = code === "ECONNRESET" && error.message.includes("hang up") ? "closed" : code;
  return { kind: "lost", reason, answered };
}

/** The body as text; bytes that are not UTF-8 become U+FFFD. */
function textOf(chunks: readonly Uint8Array[], length: number): string {
  const body = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    body.set(chunk, at);
    at += chunk.length;
  }
  return new TextDecoder().decode(body);
}
