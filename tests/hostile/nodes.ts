/** The nodes under attack: `run` as a process of its own, with the settings of a stellar-core configuration. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../overlay/base/clock.ts";
import { formatAddress } from "../../overlay/base/peer_address.ts";
import { systemRandom } from "../../overlay/base/random.ts";
import { BanManager } from "../../overlay/db/ban_manager.ts";
import { PeerManager } from "../../overlay/db/peer_manager.ts";
import { openNodeDatabase } from "../../overlay/db/schema.ts";
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";
import { HOSTILE_PASSPHRASE, HostileIdentity } from "../kit/hostile_keys.ts";
import { HostileDoor, pause } from "../kit/hostile_peer.ts";
import { DropLog, type Target } from "../kit/hostile_target.ts";
import { type RunningTool, startTool, temporaryFolder } from "../kit/tool.ts";
import { closeLedgers, type DoorName, DOORS, live, type World } from "./world.ts";

/** Longest life of a node under attack, should a test forget it. */
const LIFE = "170s";

/** `run` as a process. */
export class RunTarget implements Target {
  readonly log = new DropLog();
  readonly address;
  readonly nodeId: string;
  readonly #tool: RunningTool;
  readonly databasePath: string;
  readonly passphrase: string;

  private constructor(tool: RunningTool, databasePath: string, passphrase: string, first: Record<string, unknown>) {
    this.#tool = tool;
    this.databasePath = databasePath;
    this.passphrase = passphrase;
    this.nodeId = first.nodeId as string;
    const listen = first.listen as string | null;
    const [host, port] = (listen ?? "127.0.0.1:0").split(":");
    this.address = { host, port: Number(port) };
  }

  /** Starts a node; `settings` are lines of a stellar-core configuration. */
  static async start(
    settings: string[] = [],
    flags: string[] = [],
    passphrase = HOSTILE_PASSPHRASE,
    env: Record<string, string> = {},
  ): Promise<RunTarget> {
    const folder = temporaryFolder(), config = join(folder, "core.cfg"), database = join(folder, "node.db");
    writeFileSync(config, [`NETWORK_PASSPHRASE = ${JSON.stringify(passphrase)}`, ...settings, ""].join("\n"));
    const log = ["--log", "json", "--log-level", "debug", "--status", "0", "--metrics", "127.0.0.1:0", "--for", LIFE];
    const holder: { target?: RunTarget } = {};
    let read = 0;
    const tool = startTool(["run", "--config", config, "--db", database, ...log, ...flags], {
      limitMs: 180_000,
      env,
      onOutput: () => {
        if (holder.target !== undefined) read = holder.target.#take(read);
      },
    });
    await tool.saw(flags.includes("--no-listen") ? /"type":"starting".*\n/ : /"type":"listening".*\n/);
    const target = holder.target = new RunTarget(tool, database, passphrase, JSON.parse(tool.out().split("\n")[0]));
    read = target.#take(read);
    return target;
  }

  /** Takes the whole lines from `at` on. */
  #take(at: number): number {
    const out = this.#tool.out();
    for (let end = out.indexOf("\n", at); end >= 0; at = end + 1, end = out.indexOf("\n", at)) {
      const line = JSON.parse(out.slice(at, end));
      const { log } = this;
      if (line.type === "dropped") {
        const { address, nodeId, by, reason, code: failure } = line;
        log.drops.push({ address, nodeId: nodeId ?? undefined, by, reason, failure });
      } else if (line.type === "refused") log.refused.push({ address: line.address, reason: line.reason });
      else if (line.type === "dialFailed") log.dialFailures.push({ address: line.address, failure: line.code });
      else if (line.type === "bansReread") this.bansRead++;
    }
    this.log.changed();
    return at;
  }

  /** How often the node read its bans again. */
  bansRead = 0;

  async ban(nodeId: string): Promise<void> {
    const database = await openNodeDatabase(this.databasePath, { networkPassphrase: this.passphrase });
    try {
      new BanManager(database, { clock: systemClock }).ban(nodeId);
    } finally {
      database.close();
    }
    const before = this.bansRead;
    this.#tool.signal("SIGHUP");
    await this.log.until("the bans to be read", () => this.bansRead > before);
  }

  /** The address book of the running node: `host:port`, and what is known of it. */
  async book(): Promise<Map<string, { numFailures: number; type: string }>> {
    const database = await openNodeDatabase(this.databasePath, { networkPassphrase: this.passphrase });
    try {
      const peers = new PeerManager(database, { clock: systemClock, random: systemRandom }).all();
      return new Map(peers.map(({ address, record }) => [formatAddress(address), record]));
    } finally {
      database.close();
    }
  }

  /** What the node printed that is no line of JSON, and control characters in it: nothing, if all is well. */
  strayOutput(): string {
    const lines = this.#tool.out().split("\n").slice(0, -1).filter((line) => {
      try {
        return JSON.parse(line) === undefined;
      } catch {
        return true;
      }
    });
    return this.#tool.err() + lines.join("\n") +
      (/[\x00-\x09\x0b-\x1f\x7f\x80-\x9f\u202a-\u202e]/.exec(this.#tool.out()) ?? "");
  }

  /** All gauges of the node; those with labels by label. */
  async gauges(): Promise<Record<string, number & Record<string, number>>> {
    const url = JSON.parse(this.#tool.out().split("\n").find((line) => line.includes('"type":"metrics"'))!).url;
    return (await (await fetch(new URL("/metrics.json", url))).json()).gauges;
  }

  /** What its process holds, bytes. */
  async residentBytes(): Promise<number> {
    return (await this.gauges()).memoryBytes.resident;
  }

  /** Asks it to stop, as an operator does. */
  terminate(): void {
    this.#tool.signal("SIGTERM");
  }

  /** Its exit status. */
  async stopped(): Promise<number | null> {
    return (await this.#tool.done).status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.terminate();
    } catch {
      // It has ended.
    }
    await this.#tool.done;
  }
}

/** Passphrase of the node that dials: not the local network, whose nodes take loopback addresses from anybody. */
export const DIALER_PASSPHRASE = "Hostile doors ; August 2026";
const PREFERRED = { from: "127.0.0.71", port: 31_171 };
const PENDING_SLOTS = 6;

/** Starts all nodes and doors. */
export async function startWorld(): Promise<World & AsyncDisposable> {
  const key = new HostileIdentity();
  const doors = Object.fromEntries(
    await Promise.all(DOORS.map(async (name) => {
      const door = await HostileDoor.open("127.0.0.1", () => ({ passphrase: DIALER_PASSPHRASE }));
      return [name, door] as const;
    })),
  ) as Record<DoorName, HostileDoor>;
  const listen = ["--listen", "127.0.0.1:0", "--no-dial"];
  const known = DOORS.map((name) => `"127.0.0.1:${doors[name].address.port}"`).join(", ");
  const [main, impatient, crowded, slots, dialer] = await Promise.all([
    RunTarget.start(
      [
        "NODE_IS_VALIDATOR = true",
        // Who is slow because this machine is busy must not be dropped for it.
        "PEER_AUTHENTICATION_TIMEOUT = 60",
        "MAX_ADDITIONAL_PEER_CONNECTIONS = 1000",
        "MAX_PENDING_CONNECTIONS = 2000",
        // On a small machine the collector works soon: what the process holds is what it needs.
      ],
      listen,
      HOSTILE_PASSPHRASE,
      { BUN_JSC_forceRAMSize: "33554432" },
    ),
    RunTarget.start(["NODE_IS_VALIDATOR = true", "PEER_TIMEOUT = 2", "PEER_STRAGGLER_TIMEOUT = 2"], listen),
    RunTarget.start([
      "TARGET_PEER_CONNECTIONS = 1",
      "MAX_ADDITIONAL_PEER_CONNECTIONS = 2",
      `PREFERRED_PEERS = ["${PREFERRED.from}:${PREFERRED.port}"]`,
      `PREFERRED_PEER_KEYS = ["${encodeNodeId(key.nodeId)}"]`,
    ], listen),
    RunTarget.start([
      "TARGET_PEER_CONNECTIONS = 1",
      "MAX_ADDITIONAL_PEER_CONNECTIONS = 2",
      `MAX_PENDING_CONNECTIONS = ${PENDING_SLOTS + 3}`,
    ], listen),
    RunTarget.start(
      [`KNOWN_PEERS = [${known}, "127.0.0.1:1"]`, `TARGET_PEER_CONNECTIONS = ${DOORS.length + 1}`],
      ["--listen", "127.0.0.1:0"],
      DIALER_PASSPHRASE,
    ),
  ]);
  await closeLedgers(main, 14);
  // A node that nobody dialed aims at three peers only.
  const inbound = await live(dialer, { passphrase: DIALER_PASSPHRASE });
  return {
    main,
    impatient,
    crowded,
    slots,
    dialer,
    doors,
    preferred: { ...PREFERRED, key },
    pendingSlots: PENDING_SLOTS,
    async [Symbol.asyncDispose]() {
      inbound.close();
      for (const door of Object.values(doors)) door.close();
      await Promise.all([main, impatient, crowded, slots, dialer].map((node) => node[Symbol.asyncDispose]()));
      await pause(0);
    },
  };
}
