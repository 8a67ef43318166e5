/**
 * Independent peers for our tests: @stellarbeat/js-stellar-node-connector under Node, in a process of its own. Hosts one node
 * or many; each listens, and dials when told. Commands come as NDJSON on stdin, each with an `id`; answers carry that id, news
 * carry an `event`. The connector itself has no flow control for what it sends: credit is kept here, from the grants it gets.
 *
 * Ends with its stdin, on `stop`, and after a lifetime in any case: no test leaves it behind.
 */
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { createRequire } from "node:module";
import process from "node:process";
import { createInterface } from "node:readline";
import { quorumSetOf, scpMessages, sha256, Tally, transactionMessages, transactionProof } from "./traffic.mjs";
import { Speaker, Validator } from "./validator.mjs";

const MAX_LIFETIME_MS = 240_000;
/** Other ports to try when a chosen one is taken on one of the addresses. */
const PORT_ATTEMPTS = 10;
/** Processed messages after which the connector grants again. Source: stellar-core Config.cpp, as all its limits below. */
const BATCH = 40;
/** Source: flow-control of stellar-core, OverlayManagerImpl.cpp isFloodMessage. */
const FLOOD_TYPES = new Set(["scpMessage", "transaction", "floodAdvert", "floodDemand"]);

function tell(message) {
  process.stdout.write(JSON.stringify(message) + "\n");
}

function die(error) {
  // Written in full before the end: a pipe is asynchronous.
  process.stdout.write(
    JSON.stringify({ event: "fatal", message: String(error?.stack ?? error) }) + "\n",
    () => process.exit(1),
  );
}

process.on("uncaughtException", die);
process.on("unhandledRejection", die);
setTimeout(() => process.exit(3), MAX_LIFETIME_MS).unref();

const require = createRequire(import.meta.url);
let connector, base, pino;
try {
  const sodium = require("sodium-native");
  sodium.crypto_scalarmult_base(Buffer.alloc(32), Buffer.alloc(32, 7));
  const ofConnector = createRequire(require.resolve("@stellarbeat/js-stellar-node-connector"));
  connector = ofConnector("@stellarbeat/js-stellar-node-connector");
  // The connector's own copy: its messages are made of these classes.
  base = ofConnector("@stellar/stellar-base");
  pino = ofConnector("pino");
} catch (error) {
  die(
    new Error(`the connector or its native addon cannot be loaded in Node ${process.version}: ${error.message}`, {
      cause: error,
    }),
  );
}

/** One connection of one of our nodes. */
class Contact {
  constructor(id, host, role, connection) {
    this.id = id;
    this.host = host;
    this.role = role;
    this.connection = connection;
    this.received = { scpMessage: new Tally(), transaction: new Tally() };
    this.sent = { scpMessage: new Tally(), transaction: new Tally() };
    this.floodSizes = [];
    this.otherReceived = {};
    this.peers = null;
    this.badSignatures = 0;
    this.granted = { grants: 0, messages: 0, bytes: 0 };
    this.grants = { grants: 0, messages: 0, bytes: 0 };
    this.credit = { messages: 0, bytes: 0 };
    this.used = { messages: 0, bytes: 0 };
    this.overdrawn = 0;
    this.traffic = { received: {}, sent: {} };
    this.queue = [];
    this.stalls = 0;
    this.held = null;
    this.waiters = [];
    this.error = null;
    this.closed = false;
    this.#tap();
    connection.on("connect", (nodeId, info) => this.#onHandshake(nodeId, info));
    connection.on("data", (item) => this.#onMessage(item.stellarMessage, item.done));
    connection.on("error", (error) => (this.error ??= error.message));
    connection.on("close", () => {
      this.closed = true;
      this.check();
      tell({ event: "closed", ...this.status() });
    });
  }

  /**
   * The connector counts grants but does not tell their sizes, in either direction, and no other message: looks at them in
   * passing.
   */
  #tap() {
    const { connection } = this;
    for (const name of ["handleStellarMessage", "sendStellarMessage", "_write"]) {
      if (typeof connection[name] !== "function") throw new Error(`this version of the connector has no ${name}`);
    }
    const handle = connection.handleStellarMessage.bind(connection);
    connection.handleStellarMessage = (message, size) => {
      const { name } = message.switch();
      count(this.traffic.received, name, size);
      if (FLOOD_TYPES.has(name)) {
        this.used.messages++;
        this.used.bytes += size;
        if (this.used.messages > this.grants.messages || this.used.bytes > this.grants.bytes) this.overdrawn++;
      }
      const result = handle(message, size);
      if (name === "sendMoreExtended") {
        const { messages, bytes } = note(this.granted, message);
        this.credit.messages += messages;
        this.credit.bytes += bytes;
        this.pump();
      }
      return result;
    };
    const send = connection.sendStellarMessage.bind(connection);
    connection.sendStellarMessage = (message, done) => {
      if (message.switch().name === "sendMoreExtended") note(this.grants, message);
      return send(message, done);
    };
    const write = connection._write.bind(connection);
    connection._write = (message, encoding, done) => {
      count(this.traffic.sent, message.switch().name, message.toXDR().length);
      write(message, encoding, done);
    };
  }

  #onHandshake(nodeId, info) {
    this.nodeId = nodeId;
    this.info = info;
    // As stellar-core: right after AUTH and before the first grant, by the acceptor only.
    if (this.role === "accepted" && this.host.peers.length > 0) this.sendPeers();
    tell({ event: "connected", ...this.status() });
  }

  sendPeers() {
    const { xdr } = base;
    this.connection.sendStellarMessage(xdr.StellarMessage.peers(this.host.peers.map((text) => {
      const [ip, port] = text.split(":");
      return new xdr.PeerAddress({
        ip: xdr.PeerAddressIp.iPv4(Buffer.from(ip.split(".").map(Number))),
        port: Number(port),
        numFailures: 0,
      });
    })));
  }

  #onMessage(message, done) {
    const { xdr } = base;
    const name = message.switch().name;
    switch (name) {
      case "scpMessage": {
        const envelope = message.envelope();
        const verdict = connector.verifySCPEnvelopeSignature(envelope, sha256(Buffer.from(network)));
        if (verdict.isErr() || !verdict.value) this.badSignatures++;
        this.received.scpMessage.add(message.toXDR());
        break;
      }
      case "transaction": {
        const { source, hash, signature } = transactionProof(base, message.transaction().toXDR("base64"), network);
        if (!base.Keypair.fromPublicKey(source).verify(hash, signature)) this.badSignatures++;
        this.received.transaction.add(message.toXDR());
        break;
      }
      case "peers":
        this.peers = message.peers().map((peer) => `${[...peer.ip().ipv4()].join(".")}:${peer.port()}`);
        break;
      case "getScpQuorumset": {
        const reqHash = message.qSetHash();
        const set = this.host.quorumSets.get(reqHash.toString("hex"));
        this.connection.sendStellarMessage(
          set !== undefined
            ? xdr.StellarMessage.scpQuorumset(set)
            : xdr.StellarMessage.dontHave(new xdr.DontHave({ type: xdr.MessageType.scpQuorumset(), reqHash })),
        );
        break;
      }
      case "getTxSet": {
        const reqHash = message.txSetHash();
        this.connection.sendStellarMessage(
          this.host.txSets.get(reqHash.toString("hex")) ??
            xdr.StellarMessage.dontHave(new xdr.DontHave({ type: xdr.MessageType.generalizedTxSet(), reqHash })),
        );
        break;
      }
      case "dontHave":
        if (this.asked !== undefined && message.dontHave().reqHash().equals(this.asked.hash)) {
          this.asked.resolve({ rttMs: performance.now() - this.asked.sentMs });
          this.asked = undefined;
        }
        break;
    }
    if (name === "scpMessage" || name === "transaction") this.floodSizes.push(message.toXDR().length);
    else this.otherReceived[name] = (this.otherReceived[name] ?? 0) + 1;
    this.validator?.receive(message);
    if (this.held === null) done();
    else this.held.push(done);
    this.check();
  }

  /** Sends a flood message as soon as credit allows. */
  flood(message) {
    this.queue.push({ message, bytes: message.toXDR() });
    this.pump();
  }

  /** Sends what credit allows; the rest when the next grant arrives. */
  pump() {
    while (this.queue.length > 0) {
      const { message, bytes } = this.queue[0];
      if (this.credit.messages < 1 || this.credit.bytes < bytes.length) {
        this.stalls++;
        return;
      }
      this.queue.shift();
      this.credit.messages--;
      this.credit.bytes -= bytes.length;
      this.sent[message.switch().name]?.add(bytes);
      this.connection.sendStellarMessage(message);
    }
    this.check();
  }

  /** Resolves once `condition` holds; rejects when the connection ends before. */
  until(condition) {
    return new Promise((resolve, reject) => {
      this.waiters.push({ condition, resolve, reject });
      this.check();
    });
  }

  check() {
    this.waiters = this.waiters.filter(({ condition, resolve, reject }) => {
      if (condition()) resolve();
      else if (this.closed) reject(new Error(`connection closed: ${this.error ?? "by the other side"}`));
      else return true;
      return false;
    });
  }

  status() {
    return {
      connection: this.id,
      node: this.host.index,
      role: this.role,
      nodeId: this.nodeId,
      info: this.info,
      peers: this.peers,
      received: { scpMessage: this.received.scpMessage.state, transaction: this.received.transaction.state },
      sent: { scpMessage: this.sent.scpMessage.state, transaction: this.sent.transaction.state },
      lastFloodSizes: this.floodSizes.slice(-BATCH),
      otherReceived: this.otherReceived,
      traffic: this.traffic,
      overdrawn: this.overdrawn,
      badSignatures: this.badSignatures,
      granted: this.granted,
      grants: this.grants,
      credit: this.credit,
      queued: this.queue.length,
      stalls: this.stalls,
      held: this.held?.length ?? 0,
      error: this.error,
      closed: this.closed,
    };
  }
}

/** Counts a StellarMessage of `bytes` bytes by its type. */
function count(sums, name, bytes) {
  const sum = (sums[name] ??= { count: 0, bytes: 0 });
  sum.count++;
  sum.bytes += bytes;
}

/** Adds a SEND_MORE_EXTENDED to a sum. */
function note(sum, message) {
  const body = message.sendMoreExtendedMessage();
  const messages = body.numMessages(), bytes = body.numBytes();
  sum.grants++;
  sum.messages += messages;
  sum.bytes += bytes;
  return { messages, bytes };
}

let network = "";
const hosts = [];
const contacts = [];

function adopt(host, role, connection) {
  const contact = new Contact(contacts.length, host, role, connection);
  contacts.push(contact);
  return contact;
}

function makeHost(index, { seed, peers }, { window, ledgerVersion, versionStr }) {
  const keypair = base.Keypair.fromRawEd25519Seed(Buffer.from(seed, "hex"));
  const node = connector.createNode({
    network,
    nodeInfo: { ledgerVersion, overlayVersion: window.max, overlayMinVersion: window.min, versionString: versionStr },
    listeningPort: 11625,
    privateKey: keypair.secret(),
    receiveTransactionMessages: true,
    receiveSCPMessages: true,
    peerFloodReadingCapacity: 200,
    flowControlSendMoreBatchSize: BATCH,
    peerFloodReadingCapacityBytes: 300_000,
    flowControlSendMoreBatchSizeBytes: 100_000,
  }, pino({ level: "silent" }));
  const quorumSet = quorumSetOf(base, [keypair.rawPublicKey()]);
  const quorumSetHash = sha256(quorumSet.toXDR());
  const host = { index, keypair, node, peers: peers ?? [], quorumSet, quorumSetHash };
  /** Items it answers with, by hash in hex; of transaction sets the GENERALIZED_TX_SET. */
  host.quorumSets = new Map([[quorumSetHash.toString("hex"), quorumSet]]);
  host.txSets = new Map();
  node.on("connection", (connection) => adopt(host, "accepted", connection));
  return host;
}

function listen(host, address, port) {
  const { node } = host;
  return new Promise((resolve, reject) => {
    node.once("error", reject);
    node.once("listening", () => {
      node.off("error", reject);
      resolve(node.server.address().port);
    });
    node.acceptIncomingConnections(port, address);
  });
}

const COMMANDS = {
  /** Makes all nodes and opens their doors, on one port for all; the system chooses it. */
  async start({ passphrase, window, ledgerVersion, versionStr, nodes }) {
    network = passphrase;
    for (let attempt = 1;; attempt++) {
      hosts.length = 0;
      try {
        let port = 0;
        for (const [index, wanted] of nodes.entries()) {
          const host = makeHost(index, wanted, { window, ledgerVersion, versionStr });
          hosts.push(host);
          port = await listen(host, wanted.host, port);
        }
        return {
          node: process.versions.node,
          otherRuntime: process.versions.bun ?? process.versions.deno ?? null,
          port,
          nodes: hosts.map(({ keypair, quorumSetHash }) => ({
            nodeId: keypair.publicKey(),
            quorumSetHash: quorumSetHash.toString("hex"),
          })),
        };
      } catch (error) {
        if (error.code !== "EADDRINUSE" || attempt === PORT_ATTEMPTS) throw error;
        for (const { node } of hosts) node.stopAcceptingIncomingConnections();
      }
    }
  },
  /** What each node sends as PEERS from now on. */
  setPeers({ peers }) {
    hosts.forEach((host, i) => (host.peers = peers[i]));
    return {};
  },
  /** Dials; `connected` or `closed` follows. */
  dial({ node, host, port }) {
    return { connection: adopt(hosts[node], "dialed", hosts[node].node.connectTo(host, port)).id };
  },
  /** Makes messages, to be sent by `flow`. */
  prepare({ connection, scpMessages: scp, transactions, bigEvery, firstSlot }) {
    const contact = contacts[connection];
    const { keypair: signer, quorumSetHash } = contact.host;
    const first = scpMessages(base, { signer, passphrase: network, count: scp, firstSlot, quorumSetHash });
    const second = transactionMessages(base, { signer, passphrase: network, count: transactions, bigEvery });
    contact.prepared = [];
    for (let i = 0; i < Math.max(first.length, second.length); i++) {
      for (const message of [first[i], second[i]]) {
        if (message !== undefined) contact.prepared.push({ message, bytes: message.toXDR() });
      }
    }
    return {};
  },
  /** Sends what was prepared; answers when all of it left. */
  async flow({ connection }) {
    const contact = contacts[connection];
    contact.queue.push(...contact.prepared.splice(0));
    contact.pump();
    await contact.until(() => contact.queue.length === 0);
    return contact.status();
  },
  /** Answers once that many messages have arrived in all. */
  async expect({ connection, scpMessages: scp, transactions }) {
    const contact = contacts[connection];
    const { scpMessage, transaction } = contact.received;
    await contact.until(() => scpMessage.count >= scp && transaction.count >= transactions);
    return contact.status();
  },
  /** Keeps what arrives "in processing", so that nothing is granted. */
  hold({ connection }) {
    contacts[connection].held = [];
    return {};
  },
  /** Ends the processing of what was held, and grants as it goes. */
  release({ connection }) {
    const { held } = contacts[connection];
    contacts[connection].held = null;
    for (const done of held) done();
    return { released: held.length };
  },
  /** Asks for an unknown quorum set, as stellar-core's ping does. */
  ping({ connection }) {
    const contact = contacts[connection];
    return new Promise((resolve) => {
      const hash = randomBytes(32);
      contact.asked = { hash, sentMs: performance.now(), resolve };
      contact.connection.sendStellarMessage(base.xdr.StellarMessage.getScpQuorumset(hash));
    });
  },
  /** Sends PEERS although nobody asked: a violation when we dialed. */
  sendPeers({ connection, peers }) {
    contacts[connection].host.peers = peers;
    contacts[connection].sendPeers();
    return {};
  },
  /**
   * The nodes speak as validators, node i as number i + 1, over their one connection each; answers when everything was said
   * and has left. The plan: see validator.mjs.
   */
  async validate({ plan }) {
    for (const contact of contacts) {
      const speaker = new Speaker(base, { ...plan, passphrase: network }, contact.host.index + 1, contact.host.keypair);
      contact.validator = new Validator(base, contact, speaker);
    }
    // Lost time is not made up for: transactions live for four slots, and on a busy machine these would be over too soon.
    for (let number = 0; number < 4 * plan.slots; number++) {
      await new Promise((resolve) => setTimeout(resolve, plan.phaseMs));
      for (const { validator } of contacts) validator.speak(number);
    }
    await Promise.all(contacts.map((contact) => contact.until(() => contact.queue.length === 0)));
    return {};
  },
  /** Answers once the validator on a connection has that many SCP messages and transactions of others. */
  async expectNetwork({ connection, scpMessages: scp = 0, transactions = 0 }) {
    const contact = contacts[connection];
    const { report } = contact.validator;
    await contact.until(() => report.scpReceived.length >= scp && report.transactionsReceived.length >= transactions);
    return {};
  },
  /** What the validator on a connection did and saw. */
  report({ connection }) {
    return contacts[connection].validator.report;
  },
  /** CPU time of this process, ms. */
  cpu() {
    const { user, system } = process.cpuUsage();
    return { cpuMs: (user + system) / 1000 };
  },
  status({ connection }) {
    return contacts[connection].status();
  },
  close({ connection }) {
    contacts[connection].connection.end();
    return {};
  },
  stop() {
    setImmediate(() => process.exit(0));
    return {};
  },
};

const lines = createInterface({ input: process.stdin });
lines.on("line", async (line) => {
  const { id, do: name, ...params } = JSON.parse(line);
  try {
    tell({ id, ok: await COMMANDS[name](params) });
  } catch (error) {
    tell({ id, failed: String(error?.stack ?? error) });
  }
});
lines.on("close", () => process.exit(0));
