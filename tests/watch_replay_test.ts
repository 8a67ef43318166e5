/**
 * The recorded sessions in `watch`: the five simultaneous ones played together in virtual time give the counts and spreads that
 * their README states, counted there by somebody else; and single sessions over TCP, watched with the tool itself.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { VirtualClock } from "../overlay/base/clock.ts";
import { standalone } from "../overlay/base/config.ts";
import { formatAddress } from "../overlay/base/peer_address.ts";
import { openNodeDatabase } from "../overlay/db/schema.ts";
import { MemoryNetwork } from "../overlay/transport/memory.ts";
import type { WatchRecord } from "../survey/watch/records.ts";
import { WatchStore } from "../survey/watch/watch_store.ts";
import { Watcher } from "../survey/watch/watcher.ts";
import { loadSession } from "./kit/fixtures.ts";
import { framesOf } from "./kit/replay_server.ts";
import { forOurKeys, nonceRandom, play, PlayedPeer, playedTransport, timeline } from "./kit/session_player.ts";

const FIVE = [1, 2, 3, 4, 5].map((n) => `watch/peer-${n}`);
const NONCE = new Uint8Array(32).fill(0x41);
const SECRET = new Uint8Array(32).fill(0x42);
const LIMIT = { timeout: 60_000 };

/** Plays the five to one watcher. */
async function watchFive() {
  const sessions = FIVE.map(loadSession);
  const epochMs = Math.floor(Math.min(...sessions.map(({ header }) => header.startedAtMs!)));
  const startMs = sessions.map(({ header }) => header.startedAtMs! - epochMs);
  const clock = new VirtualClock({ epochMs });
  const peers = sessions.map(({ hello }) =>
    new PlayedPeer("weCalledRemote", { host: "127.0.0.1", port: hello!.listeningPort })
  );
  const net = new MemoryNetwork({ clock });
  const database = await openNodeDatabase(":memory:", { networkPassphrase: sessions[0].header.network });
  const watcher = new Watcher({
    config: standalone({ networkPassphrase: sessions[0].header.network }),
    targets: peers.map(({ tap: { remote } }) => ({ text: formatAddress(remote), address: remote })),
    transport: playedTransport(net, "198.51.100.1", peers),
    resolver: net,
    clock,
    random: nonceRandom(NONCE),
    database,
    seed: new Uint8Array(32).fill(0x43),
    x25519Secret: SECRET,
  });
  const records: WatchRecord[] = [];
  watcher.listen((record) => void records.push(record));
  await watcher.start();
  await play(clock, sessions, peers, timeline(sessions, startMs), 100, forOurKeys(sessions, SECRET, NONCE));
  return { watcher, records, sessions, clock, database, peers };
}

test("the five recordings give the counts and spreads of their README", LIMIT, async () => {
  const { watcher, records, sessions, clock, database, peers } = await watchFive();
  const { model } = watcher;
  assert.equal(model.connected, 5);
  const { kinds, peerLags } = model.propagationReport();
  const round = (value: number | null) => Math.round(value! * 10) / 10;
  assert.deepEqual(
    [kinds.scp.distinct, kinds.scp.complete, round(kinds.scp.spreadMedianMs), round(kinds.scp.spreadP95Ms)],
    [346, 302, 264.1, 804.2],
  );
  const { transaction, advert } = kinds;
  assert.deepEqual(
    [transaction.distinct, transaction.complete, round(transaction.spreadMedianMs), round(transaction.spreadP95Ms)],
    [318, 314, 510.5, 750.8],
  );
  assert.deepEqual([advert.distinct, advert.complete], [318, 314]);

  // Every copy was told, none twice.
  const told = records.filter((record) => record.kind === "message");
  const recorded = (type: string) => sessions.reduce((sum, session) => sum + framesOf(session, "in", type).length, 0);
  for (const type of ["scpMessage", "transaction", "floodAdvert"] as const) {
    assert.equal(told.filter((record) => record.type === type).length, recorded(type), type);
  }
  for (const [kind, type] of [["scp", "scpMessage"], ["transaction", "transaction"]] as const) {
    const copies = peerLags[kind].reduce((sum, row) => sum + row.copies + row.repeated, 0);
    assert.equal(copies, recorded(type));
    assert.equal(peerLags[kind].reduce((sum, row) => sum + row.first, 0), kinds[kind].distinct);
  }

  const externalized = new Set(
    told.flatMap(({ scp }) => scp?.statement === "externalize" && scp.refusal === undefined ? Number(scp.slot) : []),
  );
  const slots = Array.from({ length: 21 }, (_, i) => i + 3);
  assert.deepEqual([...externalized].sort((a, b) => a - b), slots);
  assert.deepEqual(model.slots().filter(({ decided }) => decided).map(({ slot }) => slot).reverse(), slots);
  assert.deepEqual([model.ledger, watcher.node.ledgerSeq], [23, 23]);
  // Four validators; E only passes on.
  assert.deepEqual(model.slots().map(({ reached }) => reached.externalize), slots.map(() => 4));
  assert.deepEqual(model.validators().map(({ missingStreak }) => missingStreak), [0, 0, 0, 0]);

  // It asked for nothing but pings, and told nobody what the others said.
  for (const peer of peers) {
    assert.deepEqual(peer.repeated.filter((message) => [8, 11, 18, 19].includes(message[3])), []);
    assert.ok(!peer.written.some((message) => [6, 19].includes(message[3])));
  }

  const store = new WatchStore(database, { startedAt: clock.wallMs(), options: {} });
  store.save(model);
  store.save(model);
  const spread = database.prepare("SELECT * FROM watch_spread WHERE kind = 'scp'").get()!;
  assert.deepEqual([spread.items, spread.complete, round(Number(spread.median_ms))], [346, 302, 264.1]);
  assert.equal(database.prepare("SELECT count(*) AS n FROM watch_lag WHERE kind = 'scp'").get()!.n, 5);
  const stored = Number(database.prepare("SELECT count(*) AS n FROM watch_slot").get()!.n);
  // 45 s of ledgers 5 s apart; the slots before were told from memory, and their times say nothing.
  assert.ok(stored >= 8 && stored <= 11, String(stored));
  await clock.run(watcher.stop());
});

test("the records of the five come out of the iterable in order, with bytes of their own", LIMIT, async () => {
  const { watcher, records, clock } = await watchFive();
  // A second reader that came late sees nothing of what was, and its sequence ends with the watch.
  const late = watcher.records();
  await clock.run(watcher.stop());
  const rest: string[] = [];
  for await (const record of late) rest.push(record.kind);
  assert.deepEqual(rest, Array(5).fill("dropped"));
  for (let i = 1; i < records.length; i++) {
    if (records[i].kind === "message" && records[i - 1].kind === "message") {
      assert.ok(records[i].atMs >= records[i - 1].atMs);
    }
  }
});
