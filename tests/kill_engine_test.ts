/**
 * One database file, two processes: while a whole node runs and writes, this one reads and writes the address book, the bans
 * and the crawl tables as the command line does. kill -9 of the node at random moments leaves a sound file that holds
 * everything acknowledged, and no call of either process ever fails because the other holds a lock.
 */
import { test } from "node:test";
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { sleep, systemClock } from "../overlay/base/clock.ts";
import { systemRandom } from "../overlay/base/random.ts";
import { encodeNodeId } from "../overlay/crypto/strkey.ts";
import { BanManager } from "../overlay/db/ban_manager.ts";
import { CrawlStore } from "../overlay/db/crawl_store.ts";
import { PeerManager } from "../overlay/db/peer_manager.ts";
import { openNodeDatabase } from "../overlay/db/schema.ts";
import { LOAD_PASSPHRASE } from "./kit/load_kit.ts";

const KILLS = 12;
const NODE = fileURLToPath(new URL("./kill_engine_test_process.ts", import.meta.url));

function startNode(path: string, round: number) {
  const runner = process.versions.bun !== undefined
    ? ["run"]
    : process.versions.deno !== undefined
    ? ["run", "-A", "--no-check"]
    : [];
  const child = spawn(process.execPath, [...runner, NODE, path, String(round)], { stdio: ["ignore", "pipe", "pipe"] });
  let printed = "", errors = "", onFirst = () => {};
  const first = new Promise<void>((resolve) => onFirst = resolve);
  child.stdout.on("data", (chunk) => {
    printed += chunk;
    onFirst();
  });
  child.stderr.on("data", (chunk) => errors += chunk);
  const ended = new Promise<string | null>((resolve) => child.on("close", (_, signal) => (onFirst(), resolve(signal))));
  return {
    first,
    /** Kills it; it must have lived until then. Gives the lines that it had printed in full. */
    async kill(): Promise<string[]> {
      child.kill("SIGKILL");
      assert.equal(await ended, "SIGKILL", errors);
      return printed.split("\n").slice(0, -1);
    },
  };
}

test("a node and a command share a database, and kill -9 of the node leaves it sound, a dozen times", {
  timeout: 120_000,
}, async () => {
  const folder = mkdtempSync(join(tmpdir(), "kill-engine-"));
  try {
    const path = join(folder, "x.sqlite");
    // Ours stay open over all kills, as a command that goes on while the node is restarted.
    using db = await openNodeDatabase(path, { networkPassphrase: LOAD_PASSPHRASE });
    const bans = new BanManager(db, { clock: systemClock });
    const book = new PeerManager(db, { clock: systemClock, random: systemRandom });
    const store = await CrawlStore.open(path, { networkPassphrase: LOAD_PASSPHRASE });
    const runId = store.startRun({ toolVersion: "test", options: null, versions: null, seeds: [], budget: null });
    let writes = 0, acknowledged = 0;

    /** One change of each kind, and the reads of `ban list`, `peers` and a crawl's report. */
    const actAsCommand = () => {
      const n = writes++;
      const nodeId = encodeNodeId(Uint8Array.from({ length: 32 }, (_, i) => [9, n >> 16, n >> 8, n][i] ?? 0));
      bans.ban(nodeId, { reason: "ours" });
      if (n % 2 === 1) assert.equal(bans.unban(nodeId), true);
      book.update({ host: "10.0.0.1", port: 1 + n % 5000 }, { type: "outbound", backoff: "increase" });
      store.recordVisit(runId, {
        address: `10.9.${(n >> 8) & 255}.${n & 255}:11625`,
        depth: 0,
        attempt: 1,
        startedAt: systemClock.wallMs(),
        durationMs: 1,
        outcome: "reachable",
        code: null,
        failure: null,
        nodeId,
        authenticated: true,
        hello: null,
        stages: null,
        rttMs: null,
        peers: Array.from({ length: 20 }, (_, k) => `10.8.${n & 255}.${k}:11625`),
        retryAt: null,
        extra: null,
      });
      bans.refresh();
      book.loadRandomPeers({ type: "inbound", dueOnly: true }, 50);
      assert.equal(store.observations(runId).length, 0);
    };

    for (let round = 0; round < KILLS; round++) {
      const node = startNode(path, round);
      // Every fourth time also while it starts: opening, reading and migrating the file.
      if (round % 4 !== 0) await node.first;
      const untilMs = systemClock.nowMs() + Math.random() * 250;
      do {
        actAsCommand();
        await sleep(systemClock, 1);
      } while (systemClock.nowMs() < untilMs);
      const lines = await node.kill();
      acknowledged += lines.length;
      if (round % 4 !== 0) assert.ok(lines.length > 0, `round ${round}`);

      using after = await openNodeDatabase(path, { networkPassphrase: LOAD_PASSPHRASE });
      assert.equal(after.prepare("PRAGMA integrity_check").get()!.integrity_check, "ok");
      assert.deepEqual(after.prepare("PRAGMA foreign_key_check").all(), []);
      const known = new Set(
        new PeerManager(after, { clock: systemClock, random: systemRandom }).all()
          .map(({ address }) => `${address.host}:${address.port}`),
      );
      const banned = new Set(new BanManager(after, { clock: systemClock }).list().map((ban) => ban.nodeId));
      for (const line of lines) {
        const [what, which] = line.split(" ");
        if (what === "banned") assert.ok(banned.has(which), line);
        else assert.ok(known.has(`${what === "met" ? "127.0.0.1" : "127.0.0.2"}:${which}`), line);
      }
    }
    assert.ok(acknowledged > 3 * KILLS, `the nodes stored ${acknowledged} changes`);
    assert.equal(store.loadRun(runId)!.visits.length, writes, "and nothing of ours was lost");
    assert.equal(bans.list().filter((ban) => ban.reason === "ours").length, Math.ceil(writes / 2));
    store.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
});
