/** Our side of the interop tests: a listener and a dialer on real TCP, with peers that count, check and answer. */
import * as base from "@stellar/stellar-base";
import { Buffer } from "node:buffer";
import { concatBytes, toHex } from "../../overlay/base/bytes.ts";
import { systemClock } from "../../overlay/base/clock.ts";
import { describeFailure, type Failure } from "../../overlay/base/errors.ts";
import { addressOfWire, formatAddress, parsePeerAddress, wireOfAddress } from "../../overlay/base/peer_address.ts";
import { systemRandom } from "../../overlay/base/random.ts";
import { primitives } from "../../overlay/crypto/primitives.ts";
import { decodeNodeId, encodeSecretSeed } from "../../overlay/crypto/strkey.ts";
import { LocalNode } from "../../overlay/peer/local_node.ts";
import { type Drop, Peer } from "../../overlay/peer/peer.ts";
import { TcpTransport } from "../../overlay/transport/tcp.ts";
import type { Endpoint, Listener, Socket } from "../../overlay/transport/transport.ts";
import { encodeMessage, MessageType, messageTypeName, type ReceivedMessage } from "../../overlay/wire/messages.ts";
import { scpStatement } from "../../overlay/wire/types.ts";
import { encode } from "../../overlay/wire/xdr.ts";
import type { TallyState } from "./connector_process.ts";
import { scpMessages, Tally, transactionMessages, transactionProof } from "./traffic.mjs";
import { Conditions, within } from "./waiting.ts";

const WAIT_LIMIT_MS = 20_000;
const DIAL_LIMIT_MS = 3000;
const ENVELOPE_TYPE_SCP = new Uint8Array([0, 0, 0, 1]);

/** Who our node is. */
export interface OurNodeOptions {
  passphrase: string;
  /** 32 bytes. */
  seed: Uint8Array;
  /** Address of the door; the system chooses the port. */
  host: string;
  window: { min: number; max: number };
  ledgerVersion: number;
  versionStr: string;
  /** `ip:port` list sent as PEERS to whoever dials us. */
  peers: string[];
}

/** One of our connections, with everything it received. */
export class OurContact {
  readonly peer: Peer;
  readonly received = { scpMessage: new Tally(), transaction: new Tally() };
  readonly sent = { scpMessage: new Tally(), transaction: new Tally() };
  /** Sizes of all flood messages received, in order. */
  readonly floodSizes: number[] = [];
  /** Other messages received, by type. */
  readonly otherReceived: Record<string, number> = {};
  /** PEERS received, undefined before. */
  peers: string[] | undefined;
  /** Hash of the last SCP_QUORUMSET received, hex. */
  quorumSetHash: string | undefined;
  badSignatures = 0;
  firstGrant = false;
  dropped: Drop | undefined;
  readonly #node: OurNode;
  readonly #changes = new Conditions();

  constructor(node: OurNode, role: "weCalledRemote" | "remoteCalledUs", socket: Socket) {
    this.#node = node;
    this.peer = new Peer({
      role,
      socket,
      local: node.local,
      clock: systemClock,
      random: systemRandom,
      handlers: {
        peersToSend: () => node.peers.map((text) => ({ ...wireOfAddress(parsePeerAddress(text))!, numFailures: 0 })),
        onFirstGrant: () => {
          this.firstGrant = true;
          this.#changes.changed();
        },
        onPeers: (_, peers) => {
          this.peers = peers.map(({ ip, port }) => formatAddress(addressOfWire(ip, port)!));
          this.#changes.changed();
        },
        onMessage: (_, message) => this.#onMessage(message),
        onDropped: (_, drop) => {
          this.dropped = drop;
          this.#changes.changed();
        },
      },
    });
  }

  /** Resolves once `condition` holds; fails when the connection is dropped before. */
  until(what: string, condition: () => boolean): Promise<void> {
    return this.#changes.until(WAIT_LIMIT_MS, what, () => {
      if (condition()) return true;
      if (this.dropped) {
        const { by, reason, failure } = this.dropped;
        throw new Error(`dropped by ${by} (${reason}: ${describeFailure(failure)}) while waiting for: ${what}`);
      }
      return false;
    });
  }

  /** Both sides are authenticated and the remote gave credit. */
  live(): Promise<void> {
    return this.until("the first grant", () => this.firstGrant);
  }

  /** The end of the connection. */
  async end(): Promise<Drop> {
    await this.until("the end of the connection", () => this.dropped !== undefined);
    return this.dropped!;
  }

  /** One round trip, ms. */
  ping(): Promise<number> {
    return within(WAIT_LIMIT_MS, "the answer to our ping", new Promise((resolve) => this.peer.ping(resolve)));
  }

  /** Makes signed messages of this node, encoded: SCP messages and transactions by turns. */
  prepare(amount: { scpMessages: number; transactions: number; bigEvery: number; firstSlot: number }): Uint8Array[] {
    const { seed, passphrase } = this.#node.options;
    const signer = base.Keypair.fromSecret(encodeSecretSeed(seed));
    const { scpMessages: count, firstSlot, transactions, bigEvery } = amount;
    const quorumSetHash = Buffer.alloc(32, 9);
    const first = scpMessages(base, { signer, passphrase, count, firstSlot, quorumSetHash });
    const second = transactionMessages(base, { signer, passphrase, count: transactions, bigEvery });
    const all: Uint8Array[] = [];
    for (let i = 0; i < Math.max(first.length, second.length); i++) {
      for (const message of [first[i], second[i]]) if (message !== undefined) all.push(new Uint8Array(message.toXDR()));
    }
    return all;
  }

  /** Sends prepared messages in this tick; what has no credit waits. */
  flow(messages: Uint8Array[]): void {
    for (const bytes of messages) {
      this.sent[bytes[3] === MessageType.scpMessage ? "scpMessage" : "transaction"].add(bytes);
      this.peer.send(bytes);
    }
  }

  /** Waits until that many messages have arrived in all. */
  expect(amount: { scpMessages: number; transactions: number }): Promise<void> {
    const { scpMessage, transaction } = this.received;
    return this.until(
      `${amount.scpMessages} SCP messages and ${amount.transactions} transactions`,
      () => scpMessage.count >= amount.scpMessages && transaction.count >= amount.transactions,
    );
  }

  /** Counts of both directions as plain data. */
  tallies(): Record<"sent" | "received", { scpMessage: TallyState; transaction: TallyState }> {
    const { sent, received } = this;
    return {
      sent: { scpMessage: sent.scpMessage.state, transaction: sent.transaction.state },
      received: { scpMessage: received.scpMessage.state, transaction: received.transaction.state },
    };
  }

  #onMessage(message: ReceivedMessage): void {
    const decoded = message.decode();
    const name = messageTypeName(message.type)!;
    switch (decoded.type) {
      case "scpMessage": {
        const { statement, signature } = decoded.envelope;
        const signed = concatBytes(this.#node.local.networkId, ENVELOPE_TYPE_SCP, encode(scpStatement, statement));
        if (!primitives.verify(statement.nodeId, signed, signature)) this.badSignatures++;
        this.received.scpMessage.add(message.bytes);
        break;
      }
      case "transaction": {
        const envelope = Buffer.from(decoded.transaction).toString("base64");
        const { source, hash, signature } = transactionProof(base, envelope, this.#node.options.passphrase);
        if (!primitives.verify(decodeNodeId(source), hash, signature)) this.badSignatures++;
        this.received.transaction.add(message.bytes);
        break;
      }
      case "getScpQuorumset": {
        const dontHave = { type: MessageType.scpQuorumset, reqHash: decoded.qSetHash };
        this.peer.send(encodeMessage({ type: "dontHave", dontHave }));
        break;
      }
      case "scpQuorumset":
        this.quorumSetHash = toHex(primitives.sha256(message.bytes.subarray(4)));
        break;
    }
    if (name === "scpMessage" || name === "transaction") this.floodSizes.push(message.bytes.length);
    else this.otherReceived[name] = (this.otherReceived[name] ?? 0) + 1;
    this.#changes.changed();
  }
}

/** A node of ours: one identity, one door. */
export class OurNode {
  readonly options: OurNodeOptions;
  readonly local: LocalNode;
  /** Sent as PEERS to whoever dials from now on. */
  peers: string[];
  readonly #transport = new TcpTransport();
  readonly #contacts: OurContact[] = [];
  readonly #callers: OurContact[] = [];
  readonly #changes = new Conditions();
  #listener: Listener | undefined;

  private constructor(options: OurNodeOptions) {
    this.options = options;
    this.peers = options.peers;
    this.local = new LocalNode({
      passphrase: options.passphrase,
      clock: systemClock,
      random: systemRandom,
      seed: options.seed,
      overlayMinVersion: options.window.min,
      overlayVersion: options.window.max,
      ledgerVersion: options.ledgerVersion,
      versionStr: options.versionStr,
    });
  }

  /** Opens the door. */
  static async start(options: OurNodeOptions): Promise<OurNode> {
    const node = new OurNode(options);
    node.#listener = await node.#transport.listen({ host: options.host, port: 0 }, (socket) => {
      node.#callers.push(node.#adopt(new OurContact(node, "remoteCalledUs", socket)));
      node.#changes.changed();
    });
    return node;
  }

  /** Where the door is. */
  get address(): Endpoint {
    return this.#listener!.address;
  }

  /** Dials; the handshake is under way when it resolves. */
  dial(to: Endpoint): Promise<OurContact> {
    return new Promise((resolve, reject) => {
      this.#transport.dial(to, { timeoutMs: DIAL_LIMIT_MS }, {
        onConnect: (socket) => resolve(this.#adopt(new OurContact(this, "weCalledRemote", socket))),
        onFail: (failure: Failure) => reject(new Error(describeFailure(failure))),
      });
    });
  }

  /** The next one that dialed us; each is given out once. */
  async nextCaller(): Promise<OurContact> {
    await this.#changes.until(WAIT_LIMIT_MS, "a caller", () => this.#callers.length > 0);
    return this.#callers.shift()!;
  }

  /** Ends all connections and closes the door. */
  async stop(): Promise<void> {
    for (const { peer } of this.#contacts) peer.destroy();
    await this.#listener?.close();
  }

  #adopt(contact: OurContact): OurContact {
    this.#contacts.push(contact);
    return contact;
  }
}
