/** A hundred whole nodes in virtual time, in this process: how many simulated seconds a second of CPU buys. */
import { VirtualClock } from "../overlay/base/clock.ts";
import { SeededRandom } from "../overlay/base/random.ts";
import { externalize, nominate, prepare, scpMessage, validators, value } from "../overlay/flood/scp_state_test_kit.ts";
import type { OverlayManager } from "../overlay/manager/overlay_manager.ts";
import { MemoryNetwork } from "../overlay/transport/memory.ts";
import { decodeMessage } from "../overlay/wire/messages.ts";
import { dialPeer, type LoadWorld, startEngine, transactionMessage } from "../tests/kit/load_kit.ts";
import { cpuUs } from "./children.ts";
import { type Measured, type Options, Rows } from "./report.ts";

const VALIDATORS = 10, LEDGER_MS = 5000, TX_PER_LEDGER = 50, KNOWN = 3;

/** Nodes that know up to three earlier ones; ten validators that say three things a ledger, and fifty transactions. */
export async function flood(options: Options): Promise<Measured> {
  const nodes = options.quick ? 30 : 100, rounds = options.quick ? 2 : 5, secondsPerRound = 20;
  const clock = new VirtualClock(), random = new SeededRandom(3);
  const net = new MemoryNetwork({ clock, delayMs: (from, to) => 10 + (from.length * 7 + to.length * 13) % 60 });
  const world: LoadWorld = { clock, random, transport: (host) => net.transport(host) };
  const engines: OverlayManager[] = [];
  for (let i = 0; i < nodes; i++) {
    const known = Array.from({ length: Math.min(i, KNOWN) }, () => engines[random.int(i)].listening!);
    const options = { knownPeers: known, listeningPort: 11625, isValidator: false };
    engines.push(await startEngine(world, `11.0.${i >> 8}.${i & 255}`, { ...options, noDial: false }));
    // Every one wants transactions, so every one relays them.
    engines[i].subscribe({ types: ["transaction"], generalLimit: 1 });
  }
  await clock.advance(60_000);
  const mouth = await clock.run(dialPeer(world, engines[0], "12.0.0.1"));
  const keys = validators(VALIDATORS), hash = new Uint8Array(32).fill(2);
  let slot = 100, number = 1;
  const closeLedger = () => {
    slot++;
    const voted = value(keys[0], hash, BigInt(Math.floor(clock.wallMs() / 1000)));
    for (const key of keys) {
      for (const pledges of [nominate(hash, voted), prepare(hash, 1, voted), externalize(hash, voted)]) {
        mouth.send(scpMessage(key, slot, pledges));
      }
    }
    for (let i = 0; i < TX_PER_LEDGER; i++) {
      engines[random.int(nodes)].broadcast(decodeMessage(transactionMessage(number++)));
    }
  };
  const read = () => engines.reduce((sum, e) => sum + e.peers().reduce((n, peer) => n + peer.messagesRead, 0), 0);
  const rows = new Rows(["nodes"]);
  for (let round = -1; round < rounds; round++) {
    const cpu = cpuUs(), before = read();
    for (let ms = 0; ms < secondsPerRound * 1000; ms += LEDGER_MS) {
      closeLedger();
      await clock.advance(LEDGER_MS);
    }
    const cpuSeconds = (cpuUs() - cpu) / 1e6, messages = read() - before;
    if (round < 0) continue;
    rows.add("nodes", {
      "simulated s per CPU s": secondsPerRound / cpuSeconds,
      "messages per simulated s": messages / secondsPerRound,
      "CPU us per message": (cpuSeconds * 1e6) / messages,
    });
  }
  const links = engines.reduce((sum, engine) => sum + engine.peers().length, 0) >> 1;
  const late = engines.filter((engine) => engine.scp.tracking !== slot).length;
  for (const engine of engines) await clock.run(engine.stop());
  mouth.destroy();
  return {
    name: "flood",
    title:
      `${nodes} whole nodes with ${links} links in virtual time, ledgers of 5 s: ${VALIDATORS} validators, ${TX_PER_LEDGER} transactions`,
    rows: rows.result(),
    aims: [],
    notes: [`a number to watch; ${late} nodes did not follow to the last ledger. In this process, Ed25519 included`],
  };
}
