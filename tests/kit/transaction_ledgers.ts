/**
 * A network whose ledgers hold transactions: whole engines that demand what is advertised, and validators that put what came
 * into real generalized transaction sets and sign real statements about them. It judges no transaction.
 */
import { Account, Asset, Keypair, Networks, Operation, TransactionBuilder, xdr } from "@stellar/stellar-base";
import { compareBytes, concatBytes } from "../../overlay/base/bytes.ts";
import { transactionHash } from "../../overlay/flood/transaction_pool.ts";
import type { EngineNode, EngineWorld } from "./engine_world.ts";
import { ScpTraffic } from "./scp_traffic.ts";

/** The account that pays in tests. */
export const PAYER = Keypair.fromRawEd25519Seed(Buffer.alloc(32, 7));
/** Somebody else. */
export const OTHER = Keypair.fromRawEd25519Seed(Buffer.alloc(32, 8));
/** Passphrase of the networks of {@link EngineWorld}. */
export const LOCAL_PASSPHRASE = "Standalone Network ; February 2017";

/** What a made transaction is like. */
export interface Made {
  passphrase?: string;
  sequence?: string;
  operations?: number;
  /** Unix seconds; 0: no bound. */
  minTime?: number;
  maxTime?: number;
  fee?: string;
  signers?: Keypair[];
  /** In place of payments. */
  extra?: xdr.Operation;
}

/** A payment, signed. */
export function payment(made: Made = {}) {
  const { passphrase = LOCAL_PASSPHRASE, sequence = "41", operations = 1, minTime = 0, maxTime = 0 } = made;
  const builder = new TransactionBuilder(new Account(PAYER.publicKey(), sequence), {
    fee: made.fee ?? "100",
    networkPassphrase: passphrase,
    timebounds: { minTime, maxTime },
  });
  if (made.extra !== undefined) builder.addOperation(made.extra);
  for (let i = 0; i < operations && made.extra === undefined; i++) {
    const destination = OTHER.publicKey();
    builder.addOperation(Operation.payment({ destination, asset: Asset.native(), amount: "1" }));
  }
  const tx = builder.build();
  tx.sign(...made.signers ?? [PAYER]);
  return tx;
}

/** Bytes of a transaction's envelope. */
export function bytesOf(tx: { toEnvelope(): xdr.TransactionEnvelope }): Uint8Array {
  return new Uint8Array(tx.toEnvelope().toXDR());
}

/** `phases` of a GeneralizedTransactionSet with these envelopes as classic ones, in the order of their hashes. */
export function phasesOf(envelopes: readonly Uint8Array[]): Uint8Array {
  const hashed = envelopes.map((bytes) => ({
    bytes,
    hash: Buffer.from(transactionHash(concatBytes(Uint8Array.of(0, 0, 0, 8), bytes)), "hex"),
  })).sort((a, b) => compareBytes(a.hash, b.hash));
  const txes = hashed.map(({ bytes }) => xdr.TransactionEnvelope.fromXDR(Buffer.from(bytes)));
  const component = xdr.TxSetComponent.txsetCompTxsMaybeDiscountedFee(
    new xdr.TxSetComponentTxsMaybeDiscountedFee({ baseFee: null, txes }),
  );
  // deno-lint-ignore no-explicit-any
  const phase = (components: xdr.TxSetComponent[]) => new (xdr.TransactionPhase as any)(0, components);
  const phases = [phase(txes.length === 0 ? [] : [component]), phase([])];
  const set = new xdr.TransactionSetV1({ previousLedgerHash: Buffer.alloc(32), phases });
  return new Uint8Array(set.toXDR()).slice(32);
}

/** See the head of this file. */
export class TransactionLedgers {
  /** Transactions that wait for a ledger, by hash. BOUNDED: by the test. */
  readonly pending = new Map<string, Uint8Array>();
  readonly traffic: ScpTraffic;
  /** Hashes by the slot they were put into. */
  readonly included = new Map<number, string[]>();

  /** The nodes are connected by the caller. `includes` false: ledgers close empty. */
  constructor(
    world: EngineWorld,
    nodes: readonly EngineNode[],
    options: { ledgerMs?: number; firstSlot?: number; includes?: () => boolean } = {},
  ) {
    for (const { engine } of nodes) void this.#collect(engine);
    this.traffic = new ScpTraffic(world.clock, nodes.map(({ index }) => () => world.nodes[index]), {
      ledgerMs: options.ledgerMs ?? 5000,
      firstSlot: options.firstSlot,
      phases: (slot) => {
        const taken = options.includes?.() === false ? [] : [...this.pending];
        for (const [hash] of taken) this.pending.delete(hash);
        this.included.set(slot, taken.map(([hash]) => hash));
        return phasesOf(taken.map(([, bytes]) => bytes));
      },
    });
  }

  async #collect(engine: EngineNode["engine"]): Promise<void> {
    for await (const { message } of engine.subscribe({ types: ["transaction"], demand: false })) {
      const hash = transactionHash(message.bytes);
      if ([...this.included.values()].some((hashes) => hashes.includes(hash))) continue;
      this.pending.set(hash, message.bytes.slice(4));
    }
  }
}

/** Passphrases of the public networks, as stellar-base has them. */
export const PASSPHRASES = Networks;
