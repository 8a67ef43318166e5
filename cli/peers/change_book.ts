/** Changes of the address book from outside of the node: addresses taken in, addresses forgotten. */
import type { Failure } from "../../overlay/base/errors.ts";
import { formatAddress, ipVersion, isDialable, kindOfIp, type PeerAddress } from "../../overlay/base/peer_address.ts";
import { CrawlStore } from "../../overlay/db/crawl_store.ts";
import { observedType, PeerManager, type PeerType } from "../../overlay/db/peer_manager.ts";
import { resolvePeers } from "../../overlay/manager/peer_resolution.ts";
import type { Resolver } from "../../overlay/transport/transport.ts";
import { mapLimited } from "../concurrency.ts";
import type { CliContext } from "../context.ts";
import type { NodeDatabase } from "../node_database.ts";
import type { ListedPeer } from "./address_list.ts";
import type { PeerRow, PEERS_SCHEMA } from "./book.ts";

/**
 * What became of an address. `added`; `changed`: it was known, and its type rose; `kept`; `skipped`: no node can be met there,
 * or private addresses were not asked for; `full`: the book has no place; `failed`: its name does not resolve.
 */
export type ImportWord = "added" | "changed" | "kept" | "skipped" | "full" | "failed";

/** One address of an import. */
export interface ImportRow {
  /** As the list has it. */
  address: string;
  /** As it is stored: with an IP address. Null when the name does not resolve. */
  stored: string | null;
  change: ImportWord;
  /** As it is stored now. */
  type: PeerType | null;
  /** Code of the failure. */
  code: string | null;
}

/** What `peers import` or `peers forget` did, or would. */
export interface PeersReport {
  schema: typeof PEERS_SCHEMA;
  action: "import" | "forget";
  at: string;
  network: string;
  database: string;
  dryRun: boolean;
  changes: (ImportRow | ForgetRow)[];
  counts: Record<string, number>;
  /** Addresses in the book of the node afterwards. */
  addresses: number;
}

/** One address of `forget`. */
export interface ForgetRow {
  address: string;
  change: "forgotten" | "absent";
}

/** Names asked for at once. */
const RESOLVE_AT_ONCE = 16;

/**
 * Takes addresses into the book, all in one step. A known address keeps its failures and its time; its type only rises, as by
 * an observation. Private and loopback addresses are skipped unless `allowPrivate`.
 */
export async function importPeers(
  at: NodeDatabase,
  listed: readonly ListedPeer[],
  ctx: CliContext,
  options: { type: PeerType; allowPrivate: boolean; dryRun: boolean },
): Promise<ImportRow[]> {
  const policy = { allowPrivate: options.allowPrivate, allowLoopback: options.allowPrivate };
  const resolved = await mapLimited(
    listed,
    RESOLVE_AT_ONCE,
    ({ address }) => address.host,
    async (peer) => ({ peer, ...await resolve(peer.address, ctx.resolver) }),
  );
  const book = new PeerManager(at.db, { clock: ctx.clock, random: ctx.random });
  /** Types after what came before in the list: an address may stand in it twice. */
  const types = new Map<string, PeerType>();
  const row = (peer: ListedPeer, address: PeerAddress | undefined, failure: Failure | undefined): ImportRow => {
    const head = {
      address: formatAddress(peer.address),
      stored: address === undefined ? null : formatAddress(address),
    };
    if (address === undefined) return { ...head, change: "failed", type: null, code: failure!.code };
    if (!isDialable(address.host, policy)) {
      return { ...head, change: "skipped", type: null, code: codeOfKind(address.host) };
    }
    const type = peer.type ?? options.type;
    const before = types.get(head.stored!) ?? typeOf(book, address);
    const after = before === undefined ? type : observedType(before, type, false);
    const change = before === undefined ? "added" : before === after ? "kept" : "changed";
    types.set(head.stored!, after);
    if (options.dryRun) return { ...head, change, type: after, code: null };
    if (change !== "added") book.update(address, { type });
    else {
      const { failures: numFailures = 0, nextAttemptAt = ctx.clock.wallMs() } = peer;
      if (!book.store(address, { type, numFailures, nextAttemptAt: Math.floor(nextAttemptAt) })) {
        return { ...head, change: "full", type: null, code: null };
      }
    }
    return { ...head, change, type: after, code: null };
  };
  const all = () => resolved.map(({ peer, address, failure }) => row(peer, address, failure));
  return options.dryRun ? all() : at.db.transaction(all);
}

function typeOf(book: PeerManager, address: PeerAddress): PeerType | undefined {
  const { record, known } = book.load(address);
  return known ? record.type : undefined;
}

/** Forgets addresses, in the book of the node and in what crawls know. The visits of past crawls stay. */
export function forgetPeers(
  at: NodeDatabase,
  addresses: readonly string[],
  rows: readonly PeerRow[],
  ctx: CliContext,
  options: { dryRun: boolean },
): ForgetRow[] {
  const known = new Map(rows.map((row) => [row.address, row]));
  const changes = [...new Set(addresses)].map((address): ForgetRow => ({
    address,
    change: known.has(address) ? "forgotten" : "absent",
  }));
  if (options.dryRun) return changes;
  const gone = new Set(changes.filter(({ change }) => change === "forgotten").map(({ address }) => address));
  const book = new PeerManager(at.db, { clock: ctx.clock, random: ctx.random });
  const crawls = CrawlStore.over(at.db, at.network.passphrase, ctx.clock);
  at.db.transaction(() => {
    book.forget(...book.all().map(({ address }) => address).filter((address) => gone.has(formatAddress(address))));
    crawls.forgetAddresses([...gone]);
  });
  return changes;
}

async function resolve(
  address: PeerAddress,
  resolver: Resolver,
): Promise<{ address: PeerAddress | undefined; failure: Failure | undefined }> {
  if (ipVersion(address.host) !== 0) return { address, failure: undefined };
  const { known, failures } = await resolvePeers(resolver, { knownPeers: [address], preferredPeers: [] });
  return { address: known[0], failure: failures[0]?.failure };
}

function codeOfKind(host: string): string {
  switch (kindOfIp(host)) {
    case "loopback":
      return "loopback_address";
    case "private":
    case "sharedNat":
    case "benchmark":
      return "private_address";
    default:
      return "unroutable_address";
  }
}
