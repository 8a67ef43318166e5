/**
 * `bun run bench/soak.ts [--seconds 60]`: four whole nodes over TCP on 127.0.0.1 to 127.0.0.4 under steady traffic: SCP of
 * twenty validators with quorum sets and transaction sets to fetch, transactions by advert and demand, a subscriber that
 * keeps up and one that does not, and callers that come and go. Prints rates, CPU, memory and what the tables hold; ends
 * with 1 when a node lost another one or an SCP message did not arrive. It stops by itself, at the latest after an hour.
 */
import process from "node:process";
import { systemClock } from "../overlay/base/clock.ts";
import { sha256 } from "../overlay/crypto/primitives.ts";
import { floodIdOf } from "../overlay/flood/floodgate.ts";
import {
  externalize,
  nominate,
  prepare,
  quorumSetOf,
  scpMessage,
  txSetOf,
  validators,
  value,
} from "../overlay/flood/scp_state_test_kit.ts";
import { hashText } from "../overlay/flood/tx_adverts_hashes.ts";
import type { OverlayEvent, OverlayManager } from "../overlay/manager/overlay_manager.ts";
import type { Peer } from "../overlay/peer/peer.ts";
import type { ReceivedMessage } from "../overlay/wire/messages.ts";
import { decodeMessage, encodeMessage, MessageType } from "../overlay/wire/messages.ts";
import { dialPeer, startEngine, TCP_WORLD, transactionMessage, until } from "../tests/kit/load_kit.ts";
import { cpuUs } from "./children.ts";

const NODES = 4, VALIDATORS = 20, LEDGER_MS = 1000, TX_PER_SECOND = 100, CALLER_MS = 250, CALLER_STAYS_MS = 1500;
const MAX_SECONDS = 3600;
/** Of all four: each has an address of its own. */
const PORT = 31_625;

const at = process.argv.indexOf("--seconds");
const seconds = at < 0 ? 60 : Number(process.argv[at + 1]);
if (!(seconds >= 5 && seconds <= MAX_SECONDS)) {
  console.error(`error: --seconds takes 5 to ${MAX_SECONDS}`);
  process.exit(2);
}

const engines: OverlayManager[] = [];
const own = new Set<string>();
const lost: OverlayEvent[] = [];
let callersGone = 0, stopping = false;

function log(event: OverlayEvent): void {
  if (event.event !== "dropped" || stopping) return;
  // Two that dial each other at once end one of the two connections.
  if (event.failure.code === "already_connected") return;
  if (event.nodeId !== undefined && own.has(event.nodeId)) lost.push(event);
  else callersGone++;
}

for (let i = 0; i < NODES; i++) {
  const engine = await startEngine(TCP_WORLD, `127.0.0.${i + 1}`, {
    listeningPort: PORT,
    noDial: i === 0,
    knownPeers: engines.map((other) => other.listening!),
    isValidator: true,
    authenticationTimeoutMs: 500,
  }, { log });
  own.add(engine.local.nodeIdText);
  engines.push(engine);
}
await until("the nodes know each other", () => engines.every((engine) => engine.peers().length === NODES - 1), 60_000);

// ---- Traffic ----

const keys = validators(VALIDATORS), quorum = quorumSetOf(keys);
/** Transaction sets of the last slots by hash. BOUNDED: 20. */
const txSets = new Map<string, Uint8Array>();

/** The validators' mouth: one peer that says everything, and is asked for what it speaks of. */
const answer = (peer: Peer, { type, bytes }: ReceivedMessage) => {
  const hash = bytes.subarray(4);
  if (type === MessageType.getScpQuorumset && hashText(hash) === hashText(quorum.hash)) peer.send(quorum.message);
  else if (type === MessageType.getTxSet && txSets.has(hashText(hash))) peer.send(txSets.get(hashText(hash))!);
  else if (type === MessageType.getScpQuorumset || type === MessageType.getTxSet) {
    const asked = type === MessageType.getTxSet ? MessageType.txSet : MessageType.scpQuorumset;
    peer.send(encodeMessage({ type: "dontHave", dontHave: { type: asked, reqHash: hash.slice() } }));
  }
};
const mouth = await dialPeer(TCP_WORLD, engines[0], "127.0.0.1", { onMessage: answer });
own.add(mouth.local.nodeIdText);

let slot = 100, scpSaid = 0, transactions = 0, number = 1;
const scpReader = engines[NODES - 1].subscribe({ types: ["scpMessage"] });
/** Ids of what the farthest node heard. BOUNDED: 60 a second. */
const heard = new Set<string>();
const reading = (async () => {
  for await (const { message } of scpReader) heard.add(floodIdOf(message.bytes));
})();
const slow = engines[1].subscribe({ types: ["transaction", "floodAdvert"], generalLimit: 100 });
let missedTold = 0, slowTaken = 0;
const slowly = (async () => {
  for await (const { missedBefore } of slow) {
    missedTold += missedBefore;
    slowTaken++;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
})();

function closeLedger(): void {
  slot++;
  const set = txSetOf(slot % 256), stamp = BigInt(Math.floor(systemClock.wallMs() / 1000));
  const message = set.message.slice();
  message.set(sha256(Uint8Array.of(slot >> 24, slot >> 16, slot >> 8, slot)), 8);
  const hash = sha256(message.subarray(4));
  txSets.set(hashText(hash), message);
  if (txSets.size > 20) txSets.delete(txSets.keys().next().value!);
  for (const key of keys) {
    const voted = value(keys[0], hash, stamp);
    for (
      const pledges of [nominate(quorum.hash, voted), prepare(quorum.hash, 1, voted), externalize(quorum.hash, voted)]
    ) {
      if (mouth.send(scpMessage(key, slot, pledges))) scpSaid++;
    }
  }
}

function offerTransaction(): void {
  const message = decodeMessage(transactionMessage(number++, 300));
  engines[number % NODES].broadcast(message);
  transactions++;
}

async function callAndLeave(): Promise<void> {
  const host = `127.0.0.${1 + Math.floor(Math.random() * NODES)}`;
  const engine = engines[Number(host.split(".")[3]) - 1];
  try {
    const caller = await dialPeer(TCP_WORLD, engine, host, {}, {}, 20_000 + Math.floor(Math.random() * 1000));
    setTimeout(() => caller.destroy(), CALLER_STAYS_MS);
  } catch (error) {
    if (!stopping) console.log(`a caller was not let in: ${(error as Error).message}`);
  }
}

const timers = [
  setInterval(closeLedger, LEDGER_MS),
  setInterval(() => {
    for (let i = 0; i < TX_PER_SECOND / 20; i++) offerTransaction();
  }, 50),
  setInterval(() => void callAndLeave(), CALLER_MS),
];

// ---- What is shown ----

const MIB = 1024 * 1024;
/** Messages read by all nodes from connections that stand; those of callers that left are few and not counted. */
const read = () => engines.reduce((sum, e) => sum + e.peers().reduce((n, peer) => n + peer.messagesRead, 0), 0);
const rss = () => process.memoryUsage().rss / MIB;
/** What lives after a full collection; undefined where the runtime has no way to ask for one. */
const live = (): number => {
  (globalThis as { Bun?: { gc(force: boolean): void } }).Bun?.gc(true);
  return process.memoryUsage().heapUsed / MIB;
};
const startedMs = performance.now(), lives: number[] = [], samples: number[] = [];
let lastRead = read(), lastCpu = cpuUs(), lastMs = startedMs;
const every = Math.max(5, Math.round(seconds / 12));
console.log("    s  messages/s  CPU %  RSS MiB  live MiB  flood records  transactions  SCP MiB  said/heard  missed");
while (performance.now() - startedMs < seconds * 1000) {
  await new Promise((resolve) => setTimeout(resolve, Math.min(every, seconds) * 1000));
  const nowMs = performance.now(), count = read(), cpu = cpuUs(), elapsed = (nowMs - lastMs) / 1000;
  samples.push(rss());
  lives.push(live());
  const sum = (of: (engine: OverlayManager) => number) => engines.reduce((total, engine) => total + of(engine), 0);
  console.log([
    ((nowMs - startedMs) / 1000).toFixed(0).padStart(5),
    ((count - lastRead) / elapsed).toFixed(0).padStart(10),
    ((cpu - lastCpu) / elapsed / 10_000).toFixed(1).padStart(5),
    samples.at(-1)!.toFixed(0).padStart(7),
    lives.at(-1)!.toFixed(1).padStart(8),
    String(sum((e) => e.floodgate.size)).padStart(13),
    String(sum((e) => e.transactions.size)).padStart(12),
    (sum((e) => e.scp.bytes) / MIB).toFixed(2).padStart(7),
    `${scpSaid}/${heard.size}`.padStart(10),
    String(slow.counts.missed).padStart(6),
  ].join("  "));
  [lastRead, lastCpu, lastMs] = [count, cpu, nowMs];
}

timers.forEach((timer) => clearInterval(timer));
await until("what was said last is heard", () => heard.size >= scpSaid, 10_000).catch(() => {});
stopping = true;
mouth.destroy();
await Promise.all(engines.map((engine) => engine.stop()));
// What waits is still delivered.
await Promise.all([reading, slowly]);
const { missed, untold } = slow.counts;
const [first, middle, last] = [samples[0], samples[samples.length >> 1], samples.at(-1)!];
const minutes = (seconds - every) / 60;
console.log(
  `\nRSS MiB: ${first.toFixed(0)} at ${every} s, ${middle.toFixed(0)} in the middle, ${last.toFixed(0)} at the end; \
in the second half ${((last - middle) / (minutes / 2)).toFixed(1)} a minute`,
);
console.log(`SCP: ${scpSaid} said, ${heard.size} heard by the farthest node; ${transactions} transactions offered`);
console.log(
  `slow subscriber: ${slowTaken} taken, ${missed} missed, of which it was told ${missedTold}, not yet ${untold}`,
);
console.log(`peers lost: ${lost.length}; callers that came and went: ${callersGone}`);
for (const event of lost) console.log(`  ${JSON.stringify(event)}`);
process.exit(lost.length === 0 && heard.size === scpSaid && missedTold + untold === missed ? 0 : 1);
