/** kill -9 at random moments: the peer and ban tables open, and hold everything that was acknowledged. */
import { test } from "node:test";
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { systemClock } from "../overlay/base/clock.ts";
import { systemRandom } from "../overlay/base/random.ts";
import { BanManager } from "../overlay/db/ban_manager.ts";
import { PeerManager } from "../overlay/db/peer_manager.ts";
import { openNodeDatabase } from "../overlay/db/schema.ts";

const KILLS = 50;
const WRITER = fileURLToPath(new URL("./kill_peer_tables_test_writer.ts", import.meta.url));

/** Starts a writer in a process of this runtime. */
function startWriter(kind: "peers" | "bans", path: string, round: number) {
  const runner = process.versions.bun !== undefined
    ? ["run"]
    : process.versions.deno !== undefined
    ? ["run", "-A", "--no-check"]
    : [];
  const child = spawn(process.execPath, [...runner, WRITER, kind, path, String(round)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let printed = "";
  let onFirst = () => {};
  const first = new Promise<void>((resolve) => onFirst = resolve);
  child.stdout.on("data", (chunk) => {
    printed += chunk;
    onFirst();
  });
  const ended = new Promise<void>((resolve) => child.on("close", () => (onFirst(), resolve())));
  return {
    first,
    /** Kills it, and gives the lines that it had printed in full. */
    async kill(): Promise<string[]> {
      child.kill("SIGKILL");
      await ended;
      return printed.split("\n").slice(0, -1);
    },
  };
}

type Table = Map<string, string>;

/** The rows by key that the lines of a writer acknowledge. */
function expectedPeers(lines: readonly string[]): Table {
  const table: Table = new Map();
  for (const line of lines) {
    const [what, host, ...record] = line.split(" ");
    if (what === "dialed") table.set(host, record.join(" "));
    else for (const i of [1, 2, 3]) if (!table.has(`${host}.${i}`)) table.set(`${host}.${i}`, "inbound 0");
  }
  return table;
}

function expectedBans(lines: readonly string[]): Table {
  const table: Table = new Map();
  for (const line of lines) {
    const [what, nodeId, ...rest] = line.split(" ");
    if (what === "banned") table.set(nodeId, rest.join(" "));
    else table.delete(nodeId);
  }
  return table;
}

/** The rows in which two tables differ. */
function differences(expected: Table, found: Table): string[] {
  return [...new Set([...expected.keys(), ...found.keys()])].filter((key) => expected.get(key) !== found.get(key));
}

async function readTables(path: string, round: number): Promise<{ peers: Table; bans: Table }> {
  using db = await openNodeDatabase(path, { networkPassphrase: "Killed ; 2026" });
  const book = new PeerManager(db, { clock: systemClock, random: systemRandom });
  const peers = book.all().filter(({ address }) => address.host.split(".")[1] === String(round));
  const bans = new BanManager(db, { clock: systemClock });
  return {
    peers: new Map(peers.map(({ address, record: { type, numFailures, nextAttemptAt } }) => [
      address.host,
      // The instant at which an address was learned is not told.
      address.host.startsWith("11.") ? `${type} ${numFailures}` : `${type} ${numFailures} ${nextAttemptAt}`,
    ])),
    bans: new Map(bans.list().map((ban) => [ban.nodeId, `${ban.untilAt} ${ban.reason}`])),
  };
}

test("the peer and ban tables hold everything acknowledged after 50 kills", { timeout: 120_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "kill-peer-tables-"));
  try {
    const path = join(folder, "x.sqlite");
    const banLines: string[] = [];
    let acknowledged = 0;
    for (let round = 0; round < KILLS / 2; round++) {
      // Every fifth time, the first included, also while it starts: opening, making the file, or reading it.
      const waits = round % 5 !== 0;
      // Both write the same file at once, as a node and a command may.
      const writers = [startWriter("peers", path, round), startWriter("bans", path, round)];
      const kills = writers.map(async (writer) => {
        if (waits) await writer.first;
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 150));
        return await writer.kill();
      });
      const [peerLines, newBanLines] = await Promise.all(kills);
      assert.ok(!waits || (peerLines.length > 0 && newBanLines.length > 0), `round ${round}`);
      acknowledged += peerLines.length + newBanLines.length;

      const { peers, bans } = await readTables(path, round);
      // One commit may have been stored and not reported: one record dialed, or three learned.
      const peersAhead = differences(expectedPeers(peerLines), peers);
      const learnedAhead = peersAhead.length === 3 && new Set(peersAhead.map((host) => host.slice(0, -1))).size === 1;
      assert.ok(peersAhead.length <= 1 || learnedAhead, `round ${round}: ${peersAhead}`);
      if (peersAhead.length === 1) {
        const before = Number(expectedPeers(peerLines).get(peersAhead[0])?.split(" ")[1] ?? 0);
        assert.equal(peers.get(peersAhead[0])?.split(" ")[1], String(before + 1));
      }
      banLines.push(...newBanLines);
      const bansAhead = differences(expectedBans(banLines), bans);
      assert.ok(bansAhead.length <= 1, `round ${round}: ${bansAhead}`);
      // What was ahead belongs to the next round's expectation.
      for (const nodeId of bansAhead) {
        banLines.push(bans.has(nodeId) ? `banned ${nodeId} ${bans.get(nodeId)}` : `unbanned ${nodeId}`);
      }
    }
    assert.ok(acknowledged > KILLS * 2, `${acknowledged} commits`);
    using db = await openNodeDatabase(path, { readonly: true });
    assert.equal(db.prepare("PRAGMA integrity_check").get()!.integrity_check, "ok");
  } finally {
    rmSync(folder, { recursive: true });
  }
});
