/**
 * A small network of whole engines over TCP on this machine, whose ledgers close, for surveys by the program. The engines are
 * in this process; the surveyor is the program in another.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Timer } from "../../overlay/base/clock.ts";
import { formatAddress } from "../../overlay/base/peer_address.ts";
import { signingKey } from "../../overlay/crypto/primitives.ts";
import { encodeNodeId, encodeSecretSeed } from "../../overlay/crypto/strkey.ts";
import { EngineWorld, idOf, seedOf } from "./engine_world.ts";
import { temporaryFolder } from "./tool.ts";
import { Voice } from "./voices.ts";

/** Secret and id of the surveyor that the nodes permit. */
export const SURVEYOR_SECRET = encodeSecretSeed(seedOf(60_000));
export const SURVEYOR_ID = encodeNodeId(signingKey(seedOf(60_000)).publicKey);

/** See the head of this file. Use with `await using`. */
export class SurveyNetwork implements AsyncDisposable {
  readonly world = new EngineWorld({ tcp: true });
  readonly folder = temporaryFolder();
  readonly #voice = new Voice(1);
  #slot = 1000;
  #timer: Timer | undefined;

  /** A ring with chords. `ledgerMs`: 0 closes none. */
  static async open(
    count: number,
    options: { ledgerMs?: number; permitted?: boolean; alsoPermits?: string[] } = {},
  ): Promise<SurveyNetwork> {
    const { ledgerMs = 600, permitted = true, alsoPermits = [] } = options;
    const network = new SurveyNetwork();
    const { world } = network;
    const addresses = await world.addresses(count);
    for (let i = 0; i < count; i++) {
      const known = i === 0 ? [] : [...new Set([i - 1, i >> 1, (i * 2) % count % i])].map((k) => addresses[k]);
      await world.add({
        config: {
          preferredPeers: known,
          targetPeerConnections: known.length,
          maxAdditionalPeerConnections: 64,
          // Nobody learns of others: the graph stays as it was made.
          surveyorKeys: [permitted ? SURVEYOR_ID : idOf(59_999), ...alsoPermits],
          startDelayMs: 10,
        },
        before: (engine) => network.#voice.equip(engine),
      });
    }
    const wanted = world.nodes.reduce((sum, node) => sum + node.engine.config.targetPeerConnections, 0);
    await world.until(
      () => world.nodes.reduce((sum, node) => sum + node.engine.counts.outbound, 0) === wanted,
      "everybody is connected",
    );
    if (ledgerMs > 0) network.#close(ledgerMs);
    return network;
  }

  #close(ledgerMs: number): void {
    this.#slot++;
    for (const node of this.world.nodes) node.engine.scp.track(this.#slot);
    this.#voice.sayAt(this.world.nodes[0].engine, this.#slot, "externalize");
    this.#timer = this.world.clock.setTimer(ledgerMs, () => this.#close(ledgerMs));
  }

  /** `host:port` of these nodes. */
  targets(...indices: number[]): string[] {
    return indices.map((index) => formatAddress(this.world.nodes[index].address));
  }

  /** A private file with the surveyor's secret, or with something else. */
  seedFile(text = SURVEYOR_SECRET, mode = 0o600): string {
    const path = join(this.folder, `seed-${Math.random()}`);
    writeFileSync(path, text + "\n", { mode });
    return path;
  }

  /** The links between nodes, dialer first. */
  links(): string[] {
    return this.world.nodes.flatMap((node) =>
      node.engine.peers().filter((peer) => peer.role === "weCalledRemote" && peer.nodeId !== SURVEYOR_ID)
        .map((peer) => `${node.id}>${peer.nodeId}`)
    ).sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#timer?.cancel();
    await this.world[Symbol.asyncDispose]();
  }
}
