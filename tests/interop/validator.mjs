/**
 * Validators of a small network that speaks for a while: what each says in each phase (`Speaker`, for both sides of the interop
 * tests, each with its own copy of stellar-base), and how a connector takes part (`Validator`): it adverts, demands and answers
 * transactions, and fetches and serves the items that SCP messages name. Imports nothing but Node's modules.
 *
 * A slot has four phases, one per SCP message: nominate, prepare, confirm, externalize. Its transaction set is the leader's:
 * nobody else has it at first.
 */
import { Buffer } from "node:buffer";
import { quorumSetOf, sha256, slotMessages, transactionMessages } from "./traffic.mjs";

/** Transactions of a set. */
const SET_TRANSACTIONS = 12;

/** Who has the transaction set of a slot at first. */
export function leaderOf({ validators }, slot) {
  return slot % validators;
}

/** The transaction set of a slot, the same from whoever makes it, as a GENERALIZED_TX_SET. */
export function txSetOf(base, { passphrase }, slot) {
  const { Keypair, xdr } = base;
  const signer = Keypair.fromRawEd25519Seed(sha256(Buffer.from("the one whose transactions are in sets")));
  const first = slot * SET_TRANSACTIONS;
  const txes = transactionMessages(base, { signer, passphrase, count: SET_TRANSACTIONS, bigEvery: 6, first })
    .map((message) => message.transaction());
  txes.sort((a, b) => Buffer.compare(sha256(a.toXDR()), sha256(b.toXDR())));
  const component = xdr.TxSetComponent.txsetCompTxsMaybeDiscountedFee(
    new xdr.TxSetComponentTxsMaybeDiscountedFee({ baseFee: xdr.Int64.fromString("100"), txes }),
  );
  const set = new xdr.TransactionSetV1({
    previousLedgerHash: sha256(Buffer.from(`ledger ${slot - 1}`)),
    phases: [new xdr.TransactionPhase(0, [component]), new xdr.TransactionPhase(0, [])],
  });
  const generalized = new xdr.GeneralizedTransactionSet(1, set);
  return { message: xdr.StellarMessage.generalizedTxSet(generalized), hash: sha256(generalized.toXDR()) };
}

/**
 * What one validator says. The plan: `passphrase`, `validators`, `firstSlot`, `slots`, `phaseMs`, `transactionsPerPhase`, and
 * `burst` large transactions that one validator, another one each time, makes at once every `burstEverySlots` slots.
 */
export class Speaker {
  #base;
  #plan;
  #index;
  #signer;
  #transactions = 0;
  #slot = [];

  constructor(base, plan, index, signer) {
    this.#base = base;
    this.#plan = plan;
    this.#index = index;
    this.#signer = signer;
    this.quorumSet = quorumSetOf(base, [signer.rawPublicKey()]);
    this.quorumSetHash = sha256(this.quorumSet.toXDR());
  }

  /** The SCP message and the transactions of a phase, counted from 0; for the leader, the set when the slot begins. */
  phase(number) {
    const base = this.#base, plan = this.#plan, signer = this.#signer, index = this.#index;
    const slot = plan.firstSlot + (number >> 2);
    let txSet;
    if ((number & 3) === 0) {
      const set = txSetOf(base, plan, slot);
      if (leaderOf(plan, slot) === index) txSet = set;
      const { passphrase } = plan, { quorumSetHash } = this;
      this.#slot = slotMessages(base, { signer, passphrase, slot, quorumSetHash, txSetHash: set.hash });
    }
    const make = (count, bigEvery) => {
      const first = (index << 20) + this.#transactions;
      this.#transactions += count;
      return transactionMessages(base, { signer, passphrase: plan.passphrase, count, bigEvery, first });
    };
    const transactions = make(plan.transactionsPerPhase, 0);
    if (burstsIn(plan, number) === index) transactions.push(...make(plan.burst, 1));
    return { scpMessage: this.#slot[number & 3], transactions, txSet };
  }
}

/** Whose burst is in this phase; undefined: nobody's. */
export function burstsIn(plan, number) {
  const slots = number >> 2;
  if ((number & 3) !== 1 || slots % plan.burstEverySlots !== plan.burstEverySlots >> 1) return undefined;
  return Math.floor(slots / plan.burstEverySlots) % plan.validators;
}

/** Names a message or item in reports. */
export function nameOf(bytes) {
  return sha256(bytes).toString("hex").slice(0, 16);
}

/** A connector's node in the network, over its one connection, `contact`. */
export class Validator {
  #base;
  #contact;
  #speaker;
  /** Envelopes of our own transactions by hash. */
  #transactions = new Map();
  #demanded = new Set();
  #asked = new Set();
  /** What happened, by name of message or item. */
  report = {
    scpMade: [],
    scpReceived: [],
    transactionsMade: [],
    transactionsReceived: [],
    quorumSetsFetched: [],
    txSetsFetched: [],
    advertisedHashes: 0,
    /** Messages of its own, and messages it had, that came all the same: none may. */
    echoes: 0,
    duplicates: 0,
    /** Demands of unknown transactions, transactions nobody demanded, items refused, items with another hash: none may come. */
    unknownDemands: 0,
    unasked: 0,
    refused: 0,
    wrongItems: 0,
  };
  #scp = new Set();
  #mine = new Set();

  constructor(base, contact, speaker) {
    this.#base = base;
    this.#contact = contact;
    this.#speaker = speaker;
  }

  /** Says what is to be said in a phase. */
  speak(number) {
    const { xdr } = this.#base;
    const { scpMessage, transactions, txSet } = this.#speaker.phase(number);
    if (txSet !== undefined) this.#contact.host.txSets.set(txSet.hash.toString("hex"), txSet.message);
    const name = nameOf(scpMessage.toXDR());
    this.#mine.add(name);
    this.report.scpMade.push(name);
    this.#contact.flood(scpMessage);
    const txHashes = transactions.map((message) => {
      const envelope = message.transaction().toXDR();
      const hash = sha256(envelope);
      this.#transactions.set(hash.toString("hex"), message);
      this.report.transactionsMade.push(nameOf(envelope));
      return hash;
    });
    if (txHashes.length > 0) this.#contact.flood(xdr.StellarMessage.floodAdvert(new xdr.FloodAdvert({ txHashes })));
  }

  receive(message) {
    const { report } = this;
    switch (message.switch().name) {
      case "scpMessage": {
        const name = nameOf(message.toXDR());
        if (this.#mine.has(name)) report.echoes++;
        else if (this.#scp.has(name)) report.duplicates++;
        else {
          this.#scp.add(name);
          report.scpReceived.push(name);
          this.#fetch(message.envelope().statement().pledges());
        }
        break;
      }
      case "floodAdvert":
        this.#onAdvert(message.floodAdvert().txHashes());
        break;
      case "floodDemand":
        for (const hash of message.floodDemand().txHashes()) {
          const transaction = this.#transactions.get(hash.toString("hex"));
          if (transaction === undefined) report.unknownDemands++;
          else this.#contact.flood(transaction);
        }
        break;
      case "transaction": {
        const envelope = message.transaction().toXDR();
        const hash = sha256(envelope).toString("hex");
        if (this.#transactions.has(hash)) report.echoes++;
        if (!this.#demanded.delete(hash)) report.unasked++;
        report.transactionsReceived.push(nameOf(envelope));
        break;
      }
      case "scpQuorumset":
        this.#arrived(message.qSet().toXDR(), message.qSet(), this.#contact.host.quorumSets, report.quorumSetsFetched);
        break;
      case "generalizedTxSet": {
        const bytes = message.generalizedTxSet().toXDR();
        this.#arrived(bytes, message, this.#contact.host.txSets, report.txSetsFetched);
        break;
      }
      case "dontHave":
        if (this.#asked.has(message.dontHave().reqHash().toString("hex"))) report.refused++;
        break;
    }
  }

  #onAdvert(hashes) {
    const { xdr } = this.#base;
    const wanted = [];
    for (const hash of hashes) {
      const text = hash.toString("hex");
      this.report.advertisedHashes++;
      if (this.#transactions.has(text)) this.report.echoes++;
      else if (this.#asked.has(text)) this.report.duplicates++;
      else {
        this.#asked.add(text);
        this.#demanded.add(text);
        wanted.push(hash);
      }
    }
    if (wanted.length === 0) return;
    this.#contact.flood(xdr.StellarMessage.floodDemand(new xdr.FloodDemand({ txHashes: wanted })));
  }

  /** Asks for the items of a statement that we do not have, each once, as a node does before it can use the statement. */
  #fetch(pledges) {
    const { xdr } = this.#base;
    const { host } = this.#contact;
    const [quorumSetHash, value] = quorumSetHashAndValueOf(pledges);
    const txSetHash = xdr.StellarValue.fromXDR(value).txSetHash();
    for (
      const [hash, known, question] of [
        [quorumSetHash, host.quorumSets, xdr.StellarMessage.getScpQuorumset],
        [txSetHash, host.txSets, xdr.StellarMessage.getTxSet],
      ]
    ) {
      const text = hash.toString("hex");
      if (known.has(text) || this.#asked.has(text)) continue;
      this.#asked.add(text);
      this.#contact.connection.sendStellarMessage(question(hash));
    }
  }

  #arrived(bytes, item, known, list) {
    const hash = sha256(bytes).toString("hex");
    if (!this.#asked.delete(hash)) this.report.wrongItems++;
    known.set(hash, item);
    list.push(hash);
  }
}

/** Of the four statements that {@link Speaker} makes. */
function quorumSetHashAndValueOf(pledges) {
  const kind = pledges.switch().name;
  switch (kind) {
    case "scpStNominate":
      return [pledges.nominate().quorumSetHash(), pledges.nominate().votes()[0]];
    case "scpStPrepare":
      return [pledges.prepare().quorumSetHash(), pledges.prepare().ballot().value()];
    case "scpStConfirm":
      return [pledges.confirm().quorumSetHash(), pledges.confirm().ballot().value()];
    case "scpStExternalize":
      return [pledges.externalize().commitQuorumSetHash(), pledges.externalize().commit().value()];
    default:
      throw new Error(`unknown statement ${kind}`);
  }
}
