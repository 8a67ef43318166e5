/**
 * Sick nodes for `doctor`, in virtual time: each is built on the engine's own Peer, so that everything but its one illness is
 * as it should be. A patient is a cause, the verdict it must get, and how it is set up.
 */
import { type Clock, type Timer, VirtualClock } from "../../overlay/base/clock.ts";
import { LOCAL, type Network, PUBNET, TESTNET } from "../../overlay/base/networks.ts";
import { wireOfAddress } from "../../overlay/base/peer_address.ts";
import { SeededRandom } from "../../overlay/base/random.ts";
import { encodeText, equalBytes, fromHex } from "../../overlay/base/bytes.ts";
import { signingKey } from "../../overlay/crypto/primitives.ts";
import { LocalNode, type LocalNodeOptions } from "../../overlay/peer/local_node.ts";
import { Peer, type PeerHandlers, type PeerSettings } from "../../overlay/peer/peer.ts";
import { type Fate, MemoryNetwork } from "../../overlay/transport/memory.ts";
import type { Endpoint, Socket } from "../../overlay/transport/transport.ts";
import { MessageType } from "../../overlay/wire/messages.ts";
import { type Examination, examine, type Examined } from "../../survey/doctor/doctor.ts";
import type { Case } from "../../survey/doctor/evidence.ts";
import { localNodes } from "../../survey/doctor/probes.ts";
import type { Cause, Verdict } from "../../survey/doctor/verdict.ts";
import { quorumSetOf, STATEMENT_KINDS, Validator } from "../../survey/twin/scp.ts";
import { SlowSocket } from "../../survey/twin/slow_socket.ts";

/** A clock whose wall time is wrong by a constant. */
export class WrongClock implements Clock {
  constructor(readonly right: Clock, readonly aheadMs: number) {}
  nowMs(): number {
    return this.right.nowMs();
  }
  wallMs(): number {
    return this.right.wallMs() + this.aheadMs;
  }
  setTimer(delayMs: number, fire: () => void): Timer {
    return this.right.setTimer(delayMs, fire);
  }
}

/** Where the patient lives, where the doctor does, and a host that nobody has. */
export const PATIENT: Endpoint = { host: "10.0.0.7", port: 11625 };
const DOCTOR = "10.0.0.2";
const NAME = "patient.example";

/** A network of validators that closes a ledger every `ledgerMs` and tells every patient that wants to know. */
export class Ledger {
  /** Seeds of the validators. */
  readonly seeds: Uint8Array[];
  readonly #validators: Validator[];
  readonly #listeners = new Set<(validator: number, message: Uint8Array) => void>();
  /** The last statement of each validator, by slot: what GET_SCP_STATE answers. BOUNDED: 12 slots. */
  readonly #known = new Map<number, Map<number, Uint8Array>>();
  #slot = 50_000;

  constructor(readonly clock: Clock, random: SeededRandom, networkId: Uint8Array, readonly ledgerMs: number) {
    this.seeds = Array.from({ length: 4 }, () => random.bytes(32));
    const keys = this.seeds.map((seed) => signingKey(seed));
    const ids = keys.map((key) => key.publicKey);
    this.#validators = keys.map((key, index) =>
      new Validator({ index, lagMs: random.int(300), key, networkId, quorumSet: quorumSetOf(ids, index) })
    );
  }

  /** Closes `past` slots at once, then one after the other for `forMs`. */
  start(past: number, forMs: number): void {
    for (let i = past; i > 0; i--) this.#close(i * this.ledgerMs);
    const untilMs = this.clock.nowMs() + forMs;
    const next = () => {
      this.#close(0);
      if (this.clock.nowMs() + this.ledgerMs < untilMs) this.clock.setTimer(this.ledgerMs, next);
    };
    if (forMs > 0) next();
  }

  subscribe(listener: (validator: number, message: Uint8Array) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  get known(): [validator: number, message: Uint8Array][] {
    return [...this.#known].flatMap(([, statements]) => [...statements]);
  }

  #close(agoMs: number): void {
    const slot = ++this.#slot;
    const closeTime = BigInt(Math.floor((this.clock.wallMs() - agoMs) / 1000));
    const value = this.#validators[slot % this.#validators.length].propose(slot, closeTime);
    this.#known.set(slot, new Map());
    for (const old of this.#known.keys()) if (old <= slot - 12) this.#known.delete(old);
    for (const validator of this.#validators) {
      for (const [at, kind] of STATEMENT_KINDS.entries()) {
        const say = () => {
          const { message } = validator.state(slot, kind, value);
          this.#known.get(slot)?.set(validator.index, message);
          for (const listener of this.#listeners) listener(validator.index, message);
        };
        if (agoMs > 0) say();
        else this.clock.setTimer(this.ledgerMs * 0.04 * at + validator.lagMs, say);
      }
    }
  }
}

/** The illness of a node; healthy where nothing is said. */
export interface Illness {
  passphrase?: string;
  /** Its clock is ahead, ms. */
  clockAheadMs?: number;
  local?: Partial<LocalNodeOptions>;
  settings?: Partial<PeerSettings>;
  handlers?: Partial<PeerHandlers>;
  /** Index of the validator it is; a watcher otherwise. */
  validator?: number;
  /** It passes on the statements of others. */
  relays?: boolean;
  book?: Endpoint[];
  /** Every write comes so late, ms. */
  lateMs?: number;
  onLive?: (peer: Peer) => void;
}

/** The room of one examination. */
export class Ward {
  readonly clock = new VirtualClock();
  readonly random: SeededRandom;
  readonly network: MemoryNetwork;
  readonly ledger: Ledger;
  /** Seed of the identity that the doctor is given, and its public key. */
  readonly seed: Uint8Array;
  readonly identity: Uint8Array;
  readonly fates = new Map<string, Fate>();
  /** What the examination is about, and with which clock, beyond what is usual. */
  about: Partial<Case> = {};
  options: Partial<Examination> = {};
  doctorAheadMs = 0;
  versions: { min: number; max: number } | undefined;
  /** When connections were made, ms, by `host:port`. */
  readonly dialedMs: Record<string, number[]> = {};

  constructor(seed: number) {
    this.random = new SeededRandom(seed * 7919 + 1);
    const delays = new Map<string, number>();
    this.network = new MemoryNetwork({
      clock: this.clock,
      delayMs: (from, to) => {
        const key = from < to ? from + to : to + from;
        if (!delays.has(key)) delays.set(key, 1 + this.random.int(80));
        return delays.get(key)!;
      },
      fate: (to) => this.fates.get(to.host) ?? "refused",
      names: { [NAME]: [PATIENT.host] },
    });
    this.seed = this.random.bytes(32);
    this.identity = signingKey(this.seed).publicKey;
    const id = new LocalNode({ passphrase: LOCAL.passphrase, clock: this.clock, random: this.random }).networkId;
    this.ledger = new Ledger(this.clock, this.random, id, 3000 + this.random.int(2500));
  }

  /** Anything from low to high, by chance. */
  between(low: number, high: number): number {
    return low + this.random.int(high - low + 1);
  }

  /** A node at `at`; its ledger runs unless the caller said otherwise before. */
  async node(illness: Illness = {}, at: Endpoint = PATIENT): Promise<LocalNode> {
    const { random } = this;
    const clock = new WrongClock(this.clock, illness.clockAheadMs ?? 0);
    const local = new LocalNode({
      passphrase: illness.passphrase ?? LOCAL.passphrase,
      clock,
      random,
      versionStr: `patient ${"x".repeat(random.int(60))}`,
      overlayVersion: this.between(40, 42),
      overlayMinVersion: 38,
      listeningPort: at.port,
      seed: illness.validator === undefined ? undefined : this.ledger.seeds[illness.validator],
      ...illness.local,
    });
    await this.serve(at, (socket) => {
      const { lateMs = 0 } = illness;
      let unsubscribe = () => {};
      const wanted = (validator: number) => validator === illness.validator || (illness.relays ?? true);
      new Peer({
        role: "remoteCalledUs",
        socket: lateMs > 0 ? new SlowSocket(socket, clock, lateMs) : socket,
        local,
        clock,
        random,
        settings: { ping: false, scpStateFrom: 1, ...illness.settings },
        handlers: {
          peersToSend: () => (illness.book ?? []).map((entry) => ({ ...wireOfAddress(entry)!, numFailures: 0 })),
          onMessage: (peer, message) => {
            if (message.type === MessageType.getScpState) {
              for (const [validator, bytes] of this.ledger.known) if (wanted(validator)) peer.send(bytes);
            } else if (message.type === MessageType.getScpQuorumset) {
              const reqHash = message.bytes.slice(4, 36);
              peer.send({ type: "dontHave", dontHave: { type: MessageType.scpQuorumset, reqHash } });
            }
          },
          onAuthenticated: (peer) => {
            unsubscribe = this.ledger.subscribe((validator, bytes) => void (wanted(validator) && peer.send(bytes)));
            illness.onLive?.(peer);
          },
          onDropped: () => unsubscribe(),
          ...illness.handlers,
        },
      });
    });
    return local;
  }

  /** A service that is no node. */
  async serve(at: Endpoint, onSocket: (socket: Socket) => void): Promise<void> {
    await this.network.transport(at.host).listen(at, (socket) => {
      (this.dialedMs[`${at.host}:${at.port}`] ??= []).push(this.clock.nowMs());
      onSocket(socket);
    });
  }

  /** Examines `host` (the patient by its name, unless told otherwise). */
  examine(host: string = NAME): Promise<Examined> {
    const clock = new WrongClock(this.clock, this.doctorAheadMs);
    const { random } = this;
    return this.clock.run(examine({
      host,
      transport: this.network.transport(DOCTOR),
      resolver: this.network,
      clock,
      random,
      localFor: localNodes({
        clock,
        random,
        seed: this.about.identityGiven ? this.seed : undefined,
        versions: this.versions,
      }),
      timeouts: { connectMs: 2000, stageMs: 2500 },
      listenMs: 12_000,
      samplePeers: 10,
      allowPrivate: false,
      ...this.options,
      about: {
        target: `${host}:${PATIENT.port}`,
        port: PATIENT.port,
        networks: [LOCAL],
        networkGiven: true,
        identityGiven: false,
        expectedNodeId: undefined,
        isOwn: false,
        expectsValidator: false,
        narrowVersions: this.versions !== undefined,
        private: false,
        ...this.about,
      },
    }));
  }
}

/** One cause: what it is called, what the doctor must say, and what it must also name. */
export interface Patient {
  cause: string;
  verdict: Verdict;
  couldAlsoBe?: Cause[];
  /** Sets the patient up; gives the host to examine when it is not the usual one. */
  admit: (ward: Ward) => Promise<string | void> | string | void;
}

const HOUR = 3_600_000;
const LEDGERS_MS = 120_000;

/** A node that works, with a ledger that runs. */
async function working(ward: Ward, illness: Illness = {}): Promise<LocalNode> {
  ward.ledger.start(5, LEDGERS_MS);
  return await ward.node(illness);
}

/** Answers every caller with the same bytes, once it spoke or at once. */
function greeting(ward: Ward, bytes: Uint8Array, first: boolean): Promise<void> {
  return ward.serve(PATIENT, (socket) => {
    let said = false;
    const say = () => {
      if (said) return;
      said = true;
      socket.write(bytes);
      socket.shutdown();
    };
    socket.attach({ onData: say, onEnd: () => socket.destroy() });
    if (first) say();
  });
}

function bannedBy(ward: Ward): Partial<PeerHandlers> {
  return { isBanned: (nodeId) => equalBytes(nodeId, ward.identity) };
}

/** Public addresses, some of which answer. */
async function book(ward: Ward, alive: number, dead: number): Promise<Endpoint[]> {
  const addresses = Array.from(
    { length: alive + dead },
    (_, i) => ({ host: `8.8.${i}.${ward.between(1, 250)}`, port: 11625 }),
  );
  for (const at of addresses.slice(0, alive)) await ward.node({}, at);
  for (const at of addresses.slice(alive)) ward.fates.set(at.host, ward.random.next() < 0.5 ? "refused" : "swallowed");
  return addresses;
}

/** Every cause. Those that share a verdict are not told apart by the protocol, and the verdict says so. */
export const PATIENTS: readonly Patient[] = [
  {
    cause: "healthy validator",
    verdict: "healthy_validator",
    admit: async (w) => void await working(w, { validator: w.random.int(4) }),
  },
  {
    cause: "healthy watcher",
    verdict: "healthy_relay",
    admit: async (w) => void await working(w, { book: await book(w, 4, 4) }),
  },
  { cause: "name does not resolve", verdict: "dns_failed", admit: () => "nobody.example" },
  { cause: "nothing listens", verdict: "tcp_refused", couldAlsoBe: ["node_not_running"], admit: () => {} },
  {
    cause: "packets are dropped",
    verdict: "tcp_timeout",
    couldAlsoBe: ["firewall"],
    admit: (w) => void w.fates.set(PATIENT.host, "swallowed"),
  },
  {
    cause: "host is down",
    verdict: "tcp_timeout",
    couldAlsoBe: ["host_down"],
    admit: (w) => void w.fates.set(PATIENT.host, "swallowed"),
  },
  { cause: "no route", verdict: "unreachable", admit: (w) => void w.fates.set(PATIENT.host, "unreachable") },
  {
    cause: "another service",
    verdict: "not_stellar",
    admit: (w) =>
      [
        () => greeting(w, encodeText("HTTP/1.1 400 Bad Request\r\n\r\n"), false),
        () => greeting(w, fromHex("1503010002020a"), false),
        () => greeting(w, encodeText("SSH-2.0-OpenSSH_9.6\r\n"), true),
      ][w.random.int(3)](),
  },
  {
    cause: "no pending slot",
    verdict: "closes_before_hello",
    couldAlsoBe: ["pending_slots_full"],
    admit: (w) => w.serve(PATIENT, (socket) => socket.destroy()),
  },
  {
    cause: "our address is filtered",
    verdict: "closes_before_hello",
    couldAlsoBe: ["address_filtered"],
    admit: (w) => w.serve(PATIENT, (socket) => socket.remote.host === DOCTOR ? socket.destroy() : undefined),
  },
  {
    cause: "accepts and is mute",
    verdict: "silent",
    couldAlsoBe: ["node_hangs", "proxy_without_backend"],
    admit: (w) => w.serve(PATIENT, (socket) => socket.attach({ onData() {}, onEnd: () => socket.destroy() })),
  },
  {
    cause: "runs another known network",
    verdict: "wrong_network",
    admit: async (w) => void await w.node({ passphrase: [TESTNET, PUBNET][w.random.int(2)].passphrase }),
  },
  {
    cause: "runs an unknown network",
    verdict: "refuses_silently",
    couldAlsoBe: ["unknown_network"],
    admit: async (w) => {
      w.about = { identityGiven: w.random.next() < 0.5, networkGiven: w.random.next() < 0.5 };
      await w.node({ passphrase: "a network of one's own" });
    },
  },
  {
    cause: "bans the identity",
    verdict: "banned_identity",
    admit: async (w) => {
      w.about = { identityGiven: true };
      await working(w, { handlers: bannedBy(w) });
    },
  },
  {
    cause: "bans the identity, network not named",
    verdict: "banned_identity",
    admit: async (w) => {
      w.about = { identityGiven: true, networkGiven: false, networks: [PUBNET, TESTNET, LOCAL] as Network[] };
      await working(w, { handlers: bannedBy(w) });
    },
  },
  {
    cause: "drops by hand and bans",
    verdict: "banned_identity",
    admit: async (w) => {
      w.about = { identityGiven: true };
      let banned = false;
      await working(w, {
        handlers: { isBanned: (nodeId) => banned && equalBytes(nodeId, w.identity) },
        onLive: (peer) => {
          w.clock.setTimer(w.between(200, 2000), () => {
            banned = true;
            peer.sendErrorAndDrop("ERR_MISC", "dropped by user");
          });
        },
      });
    },
  },
  {
    cause: "drops by hand",
    verdict: "dropped_by_operator",
    admit: async (w) => {
      let times = 0;
      await working(w, {
        onLive: (peer) =>
          times++ === 0
            ? void w.clock.setTimer(w.between(200, 2000), () => peer.sendErrorAndDrop("ERR_MISC", "dropped by user"))
            : undefined,
      });
    },
  },
  {
    cause: "drops everybody after admission",
    verdict: "drops_after_admission",
    couldAlsoBe: ["made_room"],
    admit: async (w) =>
      void await working(w, {
        onLive: (peer) =>
          void w.clock.setTimer(w.between(200, 3000), () =>
            peer.sendErrorAndDrop("ERR_LOAD", "preferred peer selected instead")),
      }),
  },
  {
    cause: "its clock is far ahead",
    verdict: "clock_skew_theirs",
    admit: async (w) => {
      w.about = { identityGiven: w.random.next() < 0.5 };
      await working(w, { clockAheadMs: w.between(61, 1200) * 60_000 });
    },
  },
  {
    cause: "its clock is behind",
    verdict: "clock_skew_theirs",
    couldAlsoBe: ["cert_not_renewed"],
    admit: async (w) => void await working(w, { clockAheadMs: -w.between(70, 1200) * 60_000 }),
  },
  {
    cause: "does not renew its certificate",
    verdict: "clock_skew_theirs",
    couldAlsoBe: ["cert_not_renewed"],
    admit: async (w) => void await working(w, { local: { certLifetimeSeconds: -w.between(600, 9000) } }),
  },
  {
    cause: "our clock is behind",
    verdict: "clock_skew_ours",
    admit: async (w) => {
      w.doctorAheadMs = -w.between(2, 30) * HOUR;
      await working(w, { validator: 1 });
    },
  },
  {
    cause: "our clock is ahead",
    verdict: "clock_skew_ours",
    admit: async (w) => {
      w.doctorAheadMs = w.between(2, 600) * 60_000;
      await working(w);
    },
  },
  {
    cause: "clocks differ, and nobody tells the time",
    verdict: "clock_skew",
    couldAlsoBe: ["clock_skew_ours", "clock_skew_theirs"],
    admit: async (w) => void await w.node({ clockAheadMs: w.between(2, 20) * HOUR }),
  },
  {
    cause: "speaks versions of the future",
    verdict: "version_window",
    admit: async (w) => void await working(w, { local: { overlayVersion: 2001, overlayMinVersion: 2000 } }),
  },
  {
    cause: "our versions are too old",
    verdict: "version_window",
    admit: async (w) => {
      w.versions = { min: 30, max: 37 };
      await working(w);
    },
  },
  {
    cause: "full",
    verdict: "full",
    couldAlsoBe: ["preferred_peers_only"],
    admit: async (w) =>
      void await working(w, {
        book: await book(w, 2, 3),
        handlers: {
          admit: () => ({ reason: "peer rejected", error: "ERR_LOAD", failure: { code: "peer_rejected", text: "" } }),
        },
      }),
  },
  {
    cause: "has our own identity",
    verdict: "own_identity",
    admit: async (w) => {
      w.about = { identityGiven: true };
      await working(w, { local: { seed: w.seed } });
    },
  },
  {
    cause: "is connected with our identity",
    verdict: "duplicate_identity",
    couldAlsoBe: ["own_second_connection"],
    admit: async (w) => {
      w.about = { identityGiven: true };
      await working(w, {
        handlers: { duplicateOf: (_, nodeId) => equalBytes(nodeId, w.identity) ? "GABCD" : undefined },
      });
    },
  },
  {
    cause: "another node than named",
    verdict: "wrong_identity",
    admit: async (w) => {
      w.about = { expectedNodeId: (await w.node({}, { host: "10.0.0.9", port: 1 })).nodeIdText };
      await working(w);
    },
  },
  {
    cause: "its certificate is altered on the way",
    verdict: "bad_cert",
    couldAlsoBe: ["altered_in_transit"],
    admit: async (w) => void await working(w, { settings: { faults: { damageCert: true } } }),
  },
  {
    cause: "cannot verify our MACs",
    verdict: "protocol_fault",
    couldAlsoBe: ["altered_in_transit", "broken_implementation"],
    admit: async (w) => void await working(w, { settings: { faults: { damageAuth: true } } }),
  },
  {
    cause: "speaks nonsense",
    verdict: "protocol_fault",
    couldAlsoBe: ["broken_implementation"],
    admit: async (w) => await greeting(w, Uint8Array.from([0x80, 0, 0, 44, ...w.random.bytes(44)]), false),
  },
  {
    cause: "closes after its HELLO",
    verdict: "handshake_unfinished",
    couldAlsoBe: ["overloaded", "stopping"],
    admit: async (w) => void await working(w, { handlers: { recordAddress: (peer) => peer.close("no reason") } }),
  },
  {
    cause: "refuses with a reason of its own",
    verdict: "refused",
    admit: async (w) =>
      void await working(w, {
        handlers: { recordAddress: (peer) => peer.sendErrorAndDrop("ERR_MISC", "not today\u001b[2J") },
      }),
  },
  {
    cause: "does not relay",
    verdict: "reachable_not_relaying",
    couldAlsoBe: ["out_of_sync"],
    admit: async (w) => void await working(w, { relays: false, validator: w.random.next() < 0.5 ? 2 : undefined }),
  },
  {
    cause: "its ledger stands still",
    verdict: "stale_ledger",
    couldAlsoBe: ["out_of_sync", "network_halted"],
    admit: async (w) => {
      w.ledger.start(5, 0);
      await w.node({ validator: w.random.next() < 0.5 ? 2 : undefined });
      await w.clock.advance(w.between(60, 600) * 1000);
    },
  },
  {
    cause: "should validate and does not",
    verdict: "not_validating",
    couldAlsoBe: ["watcher_by_choice"],
    admit: async (w) => {
      w.about = { expectsValidator: true };
      await working(w);
    },
  },
  {
    cause: "answers late",
    verdict: "slow",
    couldAlsoBe: ["overloaded"],
    admit: async (w) => void await working(w, { lateMs: w.between(2100, 6000) }),
  },
  {
    cause: "announces a closed port",
    verdict: "port_unreachable_as_announced",
    couldAlsoBe: ["nat"],
    admit: async (w) => void await working(w, { local: { listeningPort: w.between(20_000, 30_000) }, validator: 0 }),
  },
  {
    cause: "advertises dead addresses",
    verdict: "peers_poor",
    couldAlsoBe: ["old_address_book"],
    admit: async (w) => void await working(w, { book: await book(w, 1, w.between(9, 20)), validator: 3 }),
  },
];
