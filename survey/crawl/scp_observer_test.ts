import assert from "node:assert/strict";
import { test } from "node:test";
import { concatBytes, encodeText, toHex } from "../../overlay/base/bytes.ts";
import { VirtualClock } from "../../overlay/base/clock.ts";
import { isFailure } from "../../overlay/base/errors.ts";
import { networkIdOf, sha256, signingKey } from "../../overlay/crypto/primitives.ts";
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";
import { encodeMessage, MessageType } from "../../overlay/wire/messages.ts";
import { type ScpPledges, type ScpQuorumSet, scpQuorumSet, scpStatement } from "../../overlay/wire/types.ts";
import { encode } from "../../overlay/wire/xdr.ts";
import { ScpObserver, type ScpObserverOptions } from "./scp_observer.ts";

const NETWORK = networkIdOf("observer");
const keys = Array.from({ length: 30 }, (_, i) => signingKey(sha256(encodeText(`observer ${i}`))));
const ids = keys.map((key) => encodeNodeId(key.publicKey));
const MEMBERS = keys.slice(0, 5);
const SET: ScpQuorumSet = { threshold: 3, validators: MEMBERS.map((key) => key.publicKey), innerSets: [] };
const SET_HASH = sha256(encode(scpQuorumSet, SET));
const SET_MESSAGE = encodeMessage({ type: "scpQuorumset", qSet: SET });

/** A statement of node `who`; its value is no StellarValue. */
function statement(
  who: number,
  slot: bigint,
  kind: "nominate" | "externalize",
  options: { network?: Uint8Array; salt?: number; setHash?: Uint8Array } = {},
) {
  const setHash = options.setHash ?? SET_HASH;
  const value = encodeText(`no value ${slot} ${options.salt ?? 0}`);
  const pledges: ScpPledges = kind === "nominate"
    ? { type: kind, nominate: { quorumSetHash: setHash, votes: [value], accepted: [] } }
    : { type: kind, externalize: { commit: { counter: 1, value }, nH: 1, commitQuorumSetHash: setHash } };
  const body = { nodeId: keys[who].publicKey, slotIndex: slot, pledges };
  const signed = concatBytes(options.network ?? NETWORK, new Uint8Array([0, 0, 0, 1]), encode(scpStatement, body));
  return encodeMessage({ type: "scpMessage", envelope: { statement: body, signature: keys[who].sign(signed) } });
}

function setUp(listeners: number[] = [0], more: Partial<ScpObserverOptions> = {}) {
  const clock = new VirtualClock();
  const observer = new ScpObserver({ networkId: NETWORK, clock, ...more });
  const asked: { by: string; hash: string }[] = [];
  const add = (who: number) =>
    observer.addPeer({ nodeId: ids[who], askQuorumSet: (hash) => asked.push({ by: ids[who], hash: toHex(hash) }) > 0 });
  for (const who of listeners) add(who);
  const hear = (from: number, message: Uint8Array) =>
    observer.onScpMessage(ids[from], message, clock.nowMs(), clock.wallMs());
  return { clock, observer, asked, add, hear };
}

test("ScpObserver measures lags of live slots and none of what is replayed", async () => {
  const { clock, observer, add, hear } = setUp([0]);
  for (const slot of [10n, 11n]) for (const who of [1, 2, 3]) hear(0, statement(who, slot, "externalize"));
  await clock.advance(2000);
  hear(0, statement(1, 12n, "nominate"));
  hear(0, statement(1, 12n, "externalize"));
  await clock.advance(30);
  hear(0, statement(2, 12n, "externalize"));
  hear(0, statement(2, 12n, "externalize"));
  await clock.advance(4000);
  // A peer that joins now tells its memory: node 3 said 12 long ago, but it did not reach us.
  add(4);
  hear(4, statement(3, 12n, "externalize"));
  hear(4, statement(1, 12n, "externalize"));
  await clock.advance(50);
  hear(0, statement(3, 13n, "externalize"));
  await clock.advance(7);
  hear(4, statement(1, 13n, "externalize"));
  await clock.advance(3);
  hear(0, statement(1, 13n, "externalize"));
  const { nodes, slots, observations } = observer.snapshot();
  assert.deepEqual(slots.map(({ slot, firstNodeId }) => [slot, firstNodeId]), [[12n, ids[1]], [13n, ids[3]]]);
  assert.deepEqual(nodes.get(ids[1])!.lagsMs, [0, 7]);
  assert.deepEqual(nodes.get(ids[2])!.lagsMs, [30]);
  assert.deepEqual(nodes.get(ids[3])!.lagsMs, [0]);
  const seen = observations.find((row) => row.nodeId === ids[1] && row.slot === 13n)!;
  assert.deepEqual(seen.lagsMs, { [ids[4]]: 7, [ids[0]]: 10 });
});

test("ScpObserver tells latest slots, statements, who validates, who relays, who is missing", async () => {
  const { clock, observer, hear } = setUp([0, 1]);
  hear(0, statement(0, 20n, "externalize"));
  hear(1, statement(2, 20n, "externalize"));
  hear(1, statement(2, 20n, "nominate"));
  hear(1, statement(3, 5n, "externalize"));
  hear(1, statement(0, 21n, "nominate"));
  hear(1, statement(1, 21n, "nominate"));
  observer.onQuorumSet(ids[0], SET_MESSAGE);
  await clock.advance(0);
  const { nodes, relaying, missing, quorumSets, listened } = observer.snapshot();
  assert.deepEqual(listened, [ids[0], ids[1]]);
  assert.deepEqual([...relaying], [ids[1]]);
  assert.deepEqual(missing, [ids[4]]);
  assert.deepEqual([nodes.get(ids[0])!.lastSlot, nodes.get(ids[0])!.lastStatement], [21n, "nominate"]);
  assert.deepEqual([nodes.get(ids[2])!.lastSlot, nodes.get(ids[2])!.lastStatement], [20n, "externalize"]);
  assert.deepEqual(ids.slice(0, 4).map((id) => nodes.get(id)!.validating), [true, true, true, false]);
  assert.deepEqual(quorumSets.get(toHex(SET_HASH)), { threshold: 3, validators: ids.slice(0, 5), innerSets: [] });
});

test("ScpObserver believes signatures only, and verifies a message once", () => {
  const { observer, hear } = setUp();
  const foreign = statement(1, 3n, "externalize", { network: networkIdOf("another") });
  const altered = statement(1, 3n, "externalize");
  altered[altered.length - 1] ^= 1;
  for (const message of [foreign, foreign, altered, altered]) hear(0, message);
  for (let i = 0; i < 5; i++) hear(0, statement(2, 3n, "externalize"));
  const { nodes, badSignatures, messages, distinctMessages, relaying } = observer.snapshot();
  assert.deepEqual([...nodes.keys()], [ids[2]]);
  assert.deepEqual([messages, distinctMessages, badSignatures], [9, 3, 2]);
  assert.deepEqual([...relaying], [ids[0]]);
});

test("ScpObserver throws xdr_invalid for bytes that are no SCP_MESSAGE, and ignores peers it does not listen to", () => {
  const { observer, hear } = setUp();
  assert.throws(() => hear(0, statement(1, 3n, "nominate").subarray(0, 60)), isFailure("xdr_invalid"));
  hear(3, statement(1, 3n, "nominate"));
  assert.equal(observer.snapshot().nodes.size, 0);
});

test("ScpObserver asks for a quorum set until a peer has it: DONT_HAVE, silence, departure, arrival", async () => {
  const { clock, observer, asked, add, hear } = setUp([0, 1, 2]);
  const hash = toHex(SET_HASH);
  const dontHave = encodeMessage({ type: "dontHave", dontHave: { type: MessageType.scpQuorumset, reqHash: SET_HASH } });
  hear(1, statement(3, 1n, "nominate"));
  assert.deepEqual(asked, [{ by: ids[1], hash }], "first the peer that relayed it");
  observer.onDontHave(ids[0], dontHave);
  assert.equal(asked.length, 1, "only the answer of the one that was asked counts");
  observer.onDontHave(ids[1], dontHave);
  assert.equal(asked[1].by, ids[0]);
  await clock.advance(1499);
  assert.equal(asked.length, 2);
  await clock.advance(1);
  assert.equal(asked[2].by, ids[2]);
  observer.removePeer(ids[2]);
  assert.equal(asked.length, 3);
  assert.deepEqual(observer.snapshot().unknownQuorumSets, [hash]);
  add(4);
  assert.equal(asked[3].by, ids[4]);
  const forged = encodeMessage({ type: "scpQuorumset", qSet: { ...SET, threshold: 1 } });
  assert.equal(observer.onQuorumSet(ids[4], forged), false, "another set has another hash");
  assert.equal(observer.onQuorumSet(ids[0], SET_MESSAGE), true, "a late answer is as good");
  assert.equal(observer.onQuorumSet(ids[4], SET_MESSAGE), false);
  await clock.advance(10_000);
  assert.equal(asked.length, 4);
  assert.deepEqual(observer.snapshot().unknownQuorumSets, []);
});

test("ScpObserver stays bounded when one node signs for a thousand slots and many values", () => {
  const { observer, hear } = setUp();
  for (let slot = 0n; slot < 1500n; slot++) hear(0, statement(1, slot, "externalize"));
  for (let salt = 1; salt < 200; salt++) hear(0, statement(1, 7n, "externalize", { salt }));
  const { nodes, slots } = observer.snapshot();
  assert.equal(nodes.size, 1);
  assert.ok(slots.length <= 1024);
});

test("ScpObserver lets no peer that invents signers and slots say who validates, what is missing, or who lags", async () => {
  // Peers 0, 1 and 2 are honest; peer 5 tells of nodes 6 to 29, which nobody else knows.
  const { clock, observer, hear } = setUp([0, 1, 2, 5]);
  const forged: ScpQuorumSet = {
    threshold: 1,
    validators: [...keys.slice(6).map((key) => key.publicKey), new Uint8Array(32).fill(7)],
    innerSets: [],
  };
  const setHash = sha256(encode(scpQuorumSet, forged));
  const invent = (slot: bigint) => {
    for (let who = 6; who < 30; who++) hear(5, statement(who, slot, "externalize", { setHash }));
  };
  invent(9_999_999n);
  for (const peer of [0, 1, 2]) for (const who of [0, 1, 2, 3]) hear(peer, statement(who, 100n, "externalize"));
  observer.onQuorumSet(ids[0], SET_MESSAGE);
  observer.onQuorumSet(ids[5], encodeMessage({ type: "scpQuorumset", qSet: forged }));
  await clock.advance(2000);
  hear(0, statement(0, 101n, "nominate"));
  // Before the network decides: at this slot, and at one far ahead.
  invent(101n);
  invent(5000n);
  await clock.advance(1000);
  for (const who of [0, 1, 2, 3]) for (const peer of [0, 1, 2]) hear(peer, statement(who, 101n, "externalize"));
  await clock.advance(50);
  hear(5, statement(0, 101n, "externalize"));
  const { nodes, missing, slots, currentSlot, observations } = observer.snapshot();
  assert.equal(currentSlot, 101n);
  assert.deepEqual(ids.filter((id) => nodes.get(id)?.validating), ids.slice(0, 4));
  assert.deepEqual(missing, [ids[4]]);
  assert.deepEqual(slots.map(({ slot, firstNodeId }) => [slot, firstNodeId]), [[101n, ids[0]]]);
  for (const id of ids.slice(0, 4)) assert.deepEqual(nodes.get(id)!.lagsMs, [0]);
  assert.equal(observations.find((seen) => seen.nodeId === ids[0])!.lagsMs[ids[5]], 50);
});

test("ScpObserver believes one peer as long as it is the only one, and takes 500 new signers from it", () => {
  const { observer, hear } = setUp([0]);
  for (const who of [1, 2, 3]) hear(0, statement(who, 50n, "externalize"));
  hear(0, statement(4, 10n ** 18n, "externalize"));
  const { nodes, currentSlot } = observer.snapshot();
  assert.equal(currentSlot, 50n);
  assert.deepEqual(ids.slice(1, 5).map((id) => nodes.get(id)!.validating), [true, true, true, false]);
  for (let i = 0; i < 520; i++) {
    const key = signingKey(sha256(encodeText(`invented ${i}`)));
    const nominate = { quorumSetHash: SET_HASH, votes: [], accepted: [] };
    const body = { nodeId: key.publicKey, slotIndex: 51n, pledges: { type: "nominate" as const, nominate } };
    const signed = concatBytes(NETWORK, new Uint8Array([0, 0, 0, 1]), encode(scpStatement, body));
    hear(0, encodeMessage({ type: "scpMessage", envelope: { statement: body, signature: key.sign(signed) } }));
  }
  assert.equal(observer.snapshot().nodes.size, 500);
});

test("ScpObserver gives what is new, and another one goes on with all of it", async () => {
  let changes = 0;
  const { clock, observer, hear } = setUp([0, 1], { onChange: () => changes++ });
  assert.equal(changes, 2);
  for (const peer of [0, 1]) for (const who of [2, 3]) hear(peer, statement(who, 10n, "externalize"));
  const first = observer.takeChanges()!;
  assert.deepEqual(first.heard.map(({ nodeId, slot, statement }) => [nodeId, slot, statement]), [
    [ids[2], 10n, "externalize"],
    [ids[3], 10n, "externalize"],
  ]);
  assert.deepEqual(first.listeners.map(({ relaying }) => relaying), [true, true]);
  assert.deepEqual([first.observations, first.quorumSets], [[], []]);
  assert.equal(observer.takeChanges(), undefined);
  await clock.advance(2000);
  hear(0, statement(2, 11n, "externalize"));
  await clock.advance(20);
  hear(1, statement(3, 11n, "externalize"));
  observer.onQuorumSet(ids[0], SET_MESSAGE);
  const second = observer.takeChanges()!;
  assert.deepEqual(second.observations.map(({ nodeId, slot, lagsMs }) => [nodeId, slot, lagsMs]), [
    [ids[2], 11n, { [ids[0]]: 0 }],
    [ids[3], 11n, { [ids[1]]: 20 }],
  ]);
  const resume = {
    listeners: first.listeners,
    heard: second.heard,
    observations: second.observations,
    quorumSets: second.quorumSets,
  };
  const before = observer.snapshot();
  const after = new ScpObserver({ networkId: NETWORK, clock, resume }).snapshot();
  assert.deepEqual(after.nodes, before.nodes);
  assert.deepEqual(
    [after.listened, after.relaying, after.quorumSets, after.missing, after.currentSlot],
    [before.listened, before.relaying, before.quorumSets, before.missing, before.currentSlot],
  );
});
