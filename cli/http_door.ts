/** The one door to HTTP: a small server of pages, made for scrapers and people on this machine. Bounded in every direction. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Clock } from "../overlay/base/clock.ts";
import { OverlayError } from "../overlay/base/errors.ts";
import { formatAddress } from "../overlay/base/peer_address.ts";

/** What a page may look at. */
export interface PageRequest {
  /** Without the query, as sent: `/metrics`. */
  path: string;
  query: URLSearchParams;
  /** The Accept header. */
  accept: string | undefined;
}

/** An answer, made at once and sent whole. */
export interface Page {
  status?: number;
  contentType: string;
  body: string;
}

/** An open server. */
export interface HttpDoor {
  /** What it is bound to, with the port the system chose when 0 was asked for. */
  readonly address: { host: string; port: number };
  /** Ends all connections. */
  close(): Promise<void>;
}

/** Bounds of a server; times in ms. */
export interface HttpLimits {
  /** Connections at once; one more is closed unanswered. */
  connections: number;
  /** Request line and headers. */
  headerBytes: number;
  /** From the first byte of a request to its last header, and for a reader to take an answer. */
  requestMs: number;
  /** Between two requests on a connection. */
  idleMs: number;
}

/** The bounds unless others are given. */
export const HTTP_LIMITS: HttpLimits = { connections: 32, headerBytes: 8192, requestMs: 5000, idleMs: 15_000 };

type Socket = IncomingMessage["socket"];

/** Text for people. */
export const PLAIN = "text/plain; charset=utf-8";
/** Documents for programs. */
export const JSON_TYPE = "application/json; charset=utf-8";

/**
 * Serves `answer` at `at` to GET and HEAD. An answer that throws is a page with status 500, and `onError` hears why.
 * @throws OverlayError `port_in_use`, `listen_failed`
 */
export function openHttpDoor(
  at: { host: string; port: number },
  answer: (request: PageRequest) => Page,
  options: { clock: Clock; limits?: Partial<HttpLimits>; onError?: (error: unknown) => void },
): Promise<HttpDoor> {
  const { clock } = options;
  const limits = { ...HTTP_LIMITS, ...options.limits };
  const server = createServer({
    maxHeaderSize: limits.headerBytes,
    headersTimeout: limits.requestMs,
    requestTimeout: limits.requestMs,
    keepAliveTimeout: limits.idleMs,
    connectionsCheckingInterval: Math.max(50, limits.requestMs / 5),
  }, (request, response) => {
    // A reader that stops in the middle of an answer.
    const timer = clock.setTimer(limits.requestMs, () => void request.socket.destroy());
    for (const event of ["finish", "close"]) response.once(event, () => timer.cancel());
    respond(request, response, answer, options.onError);
  });
  /** BOUNDED: by `limits.connections`. */
  const open = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    socket.on("error", () => {});
    if (open.size >= limits.connections) {
      socket.destroy();
      return;
    }
    open.add(socket);
    socket.on("close", () => void open.delete(socket));
  });
  server.on("clientError", (_: Error, socket) => void socket.destroy());
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const address = formatAddress(at);
      reject(
        new OverlayError(
          error.code === "EADDRINUSE"
            ? { code: "port_in_use", address }
            : { code: "listen_failed", address, reason: error.code ?? error.message },
          { cause: error },
        ),
      );
    });
    server.listen({ host: at.host, port: at.port, backlog: limits.connections }, () => {
      const bound = server.address();
      const port = bound !== null && typeof bound === "object" ? bound.port : at.port;
      resolve({
        address: { host: at.host, port },
        close: () =>
          new Promise((done) => {
            server.close();
            server.closeAllConnections();
            for (const socket of open) socket.destroy();
            setImmediate(done);
          }),
      });
    });
  });
}

function respond(
  request: IncomingMessage,
  response: ServerResponse,
  answer: (request: PageRequest) => Page,
  onError: ((error: unknown) => void) | undefined,
): void {
  const { method, url = "/", headers } = request;
  // A body is never read: the connection ends with the answer.
  const hasBody = headers["content-length"] !== undefined && headers["content-length"] !== "0" ||
    headers["transfer-encoding"] !== undefined;
  const isAllowed = method === "GET" || method === "HEAD";
  let page: Page;
  if (!isAllowed) page = { status: 405, contentType: PLAIN, body: "only GET and HEAD\n" };
  else {
    try {
      const at = url.indexOf("?");
      page = answer({
        path: at < 0 ? url : url.slice(0, at),
        query: new URLSearchParams(at < 0 ? "" : url.slice(at + 1)),
        accept: headers.accept,
      });
    } catch (error) {
      onError?.(error);
      page = { status: 500, contentType: PLAIN, body: "the page could not be made\n" };
    }
  }
  const bytes = new TextEncoder().encode(page.body);
  response.writeHead(page.status ?? 200, {
    "Content-Type": page.contentType,
    "Content-Length": String(bytes.length),
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    ...(isAllowed ? {} : { "Allow": "GET, HEAD" }),
    ...(isAllowed && !hasBody ? {} : { "Connection": "close" }),
  });
  response.end(method === "HEAD" ? undefined : bytes);
  if (!isAllowed || hasBody) response.once("finish", () => void request.socket.destroySoon());
}
