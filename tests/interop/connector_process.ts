/** The connector's process as tests see it: started, asked, listened to, and ended whatever happens. */
import assert from "node:assert/strict";
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { dirname, join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { within } from "./waiting.ts";

const FOLDER = dirname(fileURLToPath(import.meta.url));
const OLDEST_NODE = 20;
const START_LIMIT_MS = 15_000;
const CALL_LIMIT_MS = 20_000;
const EXIT_LIMIT_MS = 2000;

/** Messages of one type, their bytes, and the SHA-256 of all of them in order. */
export interface TallyState {
  count: number;
  bytes: number;
  digest: string;
}

/** Grants of one direction, added up. */
export interface GrantSum {
  grants: number;
  messages: number;
  bytes: number;
}

/** Messages and StellarMessage bytes by type, as stellar-base names it. */
export type TypeSums = Record<string, { count: number; bytes: number }>;

/** One connection of the connector, as it sees it. */
export interface ConnectorStatus {
  connection: number;
  /** Index of its node. */
  node: number;
  role: "accepted" | "dialed";
  /** Our node id. */
  nodeId: string;
  /** Our HELLO; `networkId` in base 64. */
  info: {
    ledgerVersion: number;
    overlayVersion: number;
    overlayMinVersion: number;
    versionString: string;
    networkId: string;
  };
  /** PEERS it received. */
  peers: string[] | null;
  received: { scpMessage: TallyState; transaction: TallyState };
  sent: { scpMessage: TallyState; transaction: TallyState };
  /** Sizes of the last 40 flood messages it received, in order. */
  lastFloodSizes: number[];
  /** Other messages it received, by type. */
  otherReceived: Record<string, number>;
  /** All messages, handshake and grants included. */
  traffic: { received: TypeSums; sent: TypeSums };
  /** How often we sent it a flood message that it had not granted. */
  overdrawn: number;
  badSignatures: number;
  /** What we granted. */
  granted: GrantSum;
  /** What it granted. */
  grants: GrantSum;
  /** What it may still send. */
  credit: { messages: number; bytes: number };
  queued: number;
  /** How often it had to wait for credit. */
  stalls: number;
  held: number;
  error: string | null;
  closed: boolean;
}

/** What a node did and saw as a validator of a network: names of messages, hashes of items in hex; see validator.mjs. */
export interface ValidatorReport {
  scpMade: string[];
  scpReceived: string[];
  transactionsMade: string[];
  transactionsReceived: string[];
  quorumSetsFetched: string[];
  txSetsFetched: string[];
  advertisedHashes: number;
  echoes: number;
  duplicates: number;
  unknownDemands: number;
  unasked: number;
  refused: number;
  wrongItems: number;
}

/** A node to host. */
export interface ConnectorNodeSpec {
  /** 32 bytes in hex. */
  seed: string;
  /** Address to listen on. */
  host: string;
  /** `ip:port` list sent as PEERS to whoever dials. */
  peers?: string[];
}

/** What all nodes of a process share. */
export interface ConnectorOptions {
  passphrase: string;
  window: { min: number; max: number };
  ledgerVersion: number;
  versionStr: string;
  nodes: ConnectorNodeSpec[];
}

interface Started {
  node: string;
  otherRuntime: string | null;
  port: number;
  nodes: { nodeId: string; quorumSetHash: string }[];
}

interface Pending {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** A running connector process. */
export class ConnectorProcess {
  /** The port all its nodes listen on. */
  port = 0;
  /** Node ids and quorum set hashes, in the order of the specs. */
  nodes: Started["nodes"] = [];
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #pending = new Map<number, Pending>();
  readonly #news: (ConnectorStatus & { event: "connected" | "closed" })[] = [];
  #newsWaiters: (() => void)[] = [];
  #lastId = 0;
  #failure: Error | undefined;
  #stderr = "";
  readonly #exited: Promise<void>;

  private constructor() {
    const node = process.env.NODE ?? "node";
    this.#child = spawn(node, [join(FOLDER, "connector_node.mjs")], { cwd: FOLDER, stdio: "pipe" });
    this.#child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-4000);
    });
    this.#child.stdin.on("error", () => {});
    createInterface({ input: this.#child.stdout }).on("line", (line) => this.#onLine(line));
    this.#exited = new Promise((resolve) => {
      this.#child.on("error", (error) => {
        this.#fail(new Error(`Node cannot be started as "${node}" (set NODE): ${error.message}`));
        resolve();
      });
      this.#child.on("close", (status, signal) => {
        this.#fail(new Error(`the connector process ended (${signal ?? status})\n${this.#stderr}`));
        resolve();
      });
    });
  }

  /** Starts the process and its nodes; fails with the process's own words when it cannot. */
  static async start(options: ConnectorOptions): Promise<ConnectorProcess> {
    const self = new ConnectorProcess();
    try {
      const started = await self.call<Started>("start", options, START_LIMIT_MS);
      assert.equal(started.otherRuntime, null, "the connector must run under Node");
      assert.ok(Number(started.node.split(".")[0]) >= OLDEST_NODE, `Node ${started.node} is older than ${OLDEST_NODE}`);
      self.port = started.port;
      self.nodes = started.nodes;
      return self;
    } catch (error) {
      await self.stop();
      throw error;
    }
  }

  /** Sends one command and waits for its answer. */
  call<T = ConnectorStatus>(name: string, params: object = {}, limitMs = CALL_LIMIT_MS): Promise<T> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const id = ++this.#lastId;
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#child.stdin.write(JSON.stringify({ id, do: name, ...params }) + "\n");
    });
    return within(limitMs, `answer of the connector to ${name}`, answer as Promise<T>);
  }

  /** The next handshake it completed (`connected`) or connection it lost (`closed`); each is given out once. */
  next(
    event: "connected" | "closed",
    where: (status: ConnectorStatus) => boolean = () => true,
  ): Promise<ConnectorStatus> {
    return within(
      CALL_LIMIT_MS,
      `connection of the connector ${event}`,
      new Promise((resolve, reject) => {
        const look = () => {
          const at = this.#news.findIndex((news) => news.event === event && where(news));
          if (at >= 0) resolve(this.#news.splice(at, 1)[0]);
          else if (this.#failure !== undefined) reject(this.#failure);
          else this.#newsWaiters.push(look);
        };
        look();
      }),
    );
  }

  /** Ends the process: by its own hand, or killed when that takes too long. */
  async stop(): Promise<void> {
    const killer = setTimeout(() => this.#child.kill("SIGKILL"), EXIT_LIMIT_MS);
    this.#child.stdin.end();
    await this.#exited;
    clearTimeout(killer);
  }

  #onLine(line: string): void {
    const message = JSON.parse(line);
    if (message.event === "fatal") {
      this.#fail(new Error(message.message));
    } else if (message.event !== undefined) {
      this.#news.push(message);
      this.#wake();
    } else {
      const pending = this.#pending.get(message.id);
      this.#pending.delete(message.id);
      if (message.failed === undefined) pending?.resolve(message.ok);
      else pending?.reject(new Error(`connector: ${message.failed}`));
    }
  }

  #fail(error: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
    this.#wake();
  }

  #wake(): void {
    const waiters = this.#newsWaiters;
    this.#newsWaiters = [];
    for (const look of waiters) look();
  }
}
