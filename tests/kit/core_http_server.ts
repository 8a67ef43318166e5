/**
 * A server that answers as stellar-core's HTTP endpoint does, byte for byte: HTTP/1.0, one request a connection, and all of it
 * application/json. It can also misbehave. What is answered comes from outside: recorded bodies, or a model of a node.
 */
import { readFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";

/** A request as the node understands it: the command, and its parameters. */
export interface CoreRequest {
  command: string;
  query: Map<string, string>;
}

/** An answer; a string is one with status 200. */
export type CoreReply = string | { status: number; contentType?: string; body: string };

/**
 * Ways to fail. `hang`: says nothing; `half`: stops in the middle of the body, and stays; `cut`: ends there; `reset`: resets at
 * once; `close`: ends without a byte; `huge`: a body without end; `ssh`: a greeting of something else; `silentHead`: the head only.
 */
export type Fault = "hang" | "half" | "cut" | "reset" | "close" | "huge" | "ssh" | "silentHead";

/** An open server. */
export class CoreHttpServer {
  /** What was asked, in order: `peers?fullkeys=true`. */
  readonly requests: string[] = [];
  /** While set, requests fail this way. */
  fault: Fault | undefined;
  /** Waits this long before it answers, ms. */
  delayMs = 0;
  /** Connections with a request, at most at one time. */
  mostAtOnce = 0;
  #atOnce = 0;
  readonly #server = createServer((socket) => this.#serve(socket));
  readonly #sockets = new Set<Socket>();

  constructor(private readonly answer: (request: CoreRequest) => CoreReply) {}

  /** Listens on a port of the system's choice, or on the one given. */
  async open(port = 0): Promise<this> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(port, "127.0.0.1", () => resolve());
    });
    return this;
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("close", () => void this.#sockets.delete(socket));
    socket.on("error", () => {});
    let head = "";
    socket.on("data", (chunk: Uint8Array) => {
      head += new TextDecoder().decode(chunk);
      if (!head.includes("\r\n\r\n")) return;
      socket.removeAllListeners("data");
      socket.resume();
      const target = /^GET (\S+) HTTP\/1\.[01]\r\n/.exec(head)?.[1] ?? "/";
      this.requests.push(target.slice(1));
      this.mostAtOnce = Math.max(this.mostAtOnce, ++this.#atOnce);
      socket.on("close", () => void this.#atOnce--);
      if (this.fault !== undefined) return misbehave(socket, this.fault);
      const answer = () => respond(socket, this.answer(parseTarget(target)));
      if (this.delayMs > 0) setTimeout(answer, this.delayMs);
      else answer();
    });
  }
}

/** As lib/http/server.cpp does it: escapes are undone first, then the parts are told apart. */
export function parseTarget(target: string): CoreRequest {
  const text = target.replaceAll("+", " ").replace(
    /%([0-9a-fA-F]{2})/g,
    (_, hex) => String.fromCharCode(parseInt(hex, 16)),
  )
    .replace(/^\//, "");
  const at = text.indexOf("?");
  const query = new Map<string, string>();
  for (const part of at < 0 ? [] : text.slice(at + 1).split("&")) {
    const [name, value = ""] = part.split("=");
    query.set(name, value);
  }
  return { command: at < 0 ? text : text.slice(0, at), query };
}

const REASONS: Record<number, string> = { 200: "OK", 302: "Found", 404: "Not Found", 500: "Internal Server Error" };

function respond(socket: Socket, reply: CoreReply): void {
  const { status, contentType = "application/json", body } = typeof reply === "string"
    ? { status: 200, contentType: undefined, body: reply }
    : reply;
  const bytes = new TextEncoder().encode(body);
  socket.write(
    `HTTP/1.0 ${status} ${
      REASONS[status] ?? "Status"
    }\r\nContent-Length: ${bytes.length}\r\nContent-Type: ${contentType}\r\n\r\n`,
  );
  socket.end(bytes);
}

function misbehave(socket: Socket, fault: Fault): void {
  const head = "HTTP/1.0 200 OK\r\nContent-Length: 1000\r\nContent-Type: application/json\r\n\r\n";
  switch (fault) {
    case "hang":
      return;
    case "silentHead":
      return void socket.write(head);
    case "half":
      return void socket.write(head + '{ "info" : {');
    case "cut":
      return void socket.end(head + '{ "info" : {');
    case "reset":
      return void socket.resetAndDestroy();
    case "close":
      return void socket.end();
    case "ssh":
      return void socket.end("SSH-2.0-OpenSSH_9.9\r\n");
    case "huge": {
      socket.write("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n");
      const chunk = new Uint8Array(65_536).fill(32);
      const more = () => {
        if (!socket.destroyed) socket.write(chunk, () => setImmediate(more));
      };
      more();
    }
  }
}

/** A recorded body of tests/fixtures/http. */
export function recorded(name: string): string {
  return readFileSync(new URL(`../fixtures/http/${name}`, import.meta.url), "utf8");
}

/** Node ids of the recording: the node that answered, and one that does not exist. */
export const RECORDED_SELF = "GABMDKJDMFEW5SFDCBSGQSNVI3UXUM7XGJSKRQK2YGFOXXBHLA6WIEYO";
export const RECORDED_NOBODY = "GAAZI4TCR3TY5OJHCTJC2A4QSY6CJWJH5IAJTGKIN2ER7LBNVKOCCWN7";

/**
 * Answers with the recorded bodies, each to the request it was recorded for. Derived where nothing was recorded: `scp` with
 * full keys and no ledgers, which is the recorded one without its ledgers and with the node's id.
 */
export function recordedNode(): (request: CoreRequest) => CoreReply {
  let asked = 0;
  return ({ command, query }) => {
    const full = query.get("fullkeys") === "true";
    switch (command) {
      case "info":
        return recorded("info.json");
      case "peers":
        return recorded(full ? "peers-fullkeys-true.json" : "peers.json");
      case "scp": {
        const body = recorded("scp-limit-2.json");
        return full && query.get("limit") === "0"
          ? body.replace(/"scp" : \{[\s\S]*\n {3}\},\n/, '"scp" : null,\n').replace(
            '"self"\n}',
            `"${RECORDED_SELF}"\n}`,
          )
          : body;
      }
      case "quorum":
        return recorded(
          query.get("transitive") === "true"
            ? "quorum-transitive-true.json"
            : full
            ? "quorum-fullkeys-true.json"
            : "quorum.json",
        );
      case "metrics":
        return recorded("metrics.json");
      case "bans":
        return recorded("bans.json");
      case "connect":
        return recorded("connect-no-port.txt");
      case "droppeer":
        return recorded("droppeer-unknown.txt");
      case "startsurveycollecting":
        return recorded(query.has("nonce") ? "survey-start.txt" : "survey-start-no-nonce.txt");
      case "stopsurveycollecting":
        return recorded("survey-stop.txt");
      case "stopsurvey":
        return "survey stopped";
      case "surveytopologytimesliced": {
        const node = query.get("node") ?? "";
        if (!/^G[A-Z2-7]{55}$/.test(node)) return recorded("survey-request-bad-node.txt");
        asked++;
        if (node === RECORDED_SELF) return recorded("survey-request-self.txt");
        if (node === RECORDED_NOBODY) return recorded("survey-request-unknown.txt");
        return recorded(`survey-request-${Math.min(asked, 5)}.txt`);
      }
      case "getsurveyresult":
        return recorded(asked === 0 ? "survey-result-before.json" : "survey-result.json");
      default:
        return { status: 404, contentType: "text/html", body: recorded("unknown-command.txt") };
    }
  };
}
