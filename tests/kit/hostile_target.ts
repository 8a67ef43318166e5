/** The node under attack, and what its own log says about every connection that ended. */
import assert from "node:assert/strict";
import type { FailureCode } from "../../overlay/base/errors.ts";
import { Conditions } from "../interop/waiting.ts";
import { type Address, type HostilePeer, PROMPT_MS } from "./hostile_peer.ts";

/** One line of the node's log about the end of a connection. */
export interface DropLine {
  /** IP of the socket, and the listening port once HELLO told it. */
  address: string;
  nodeId: string | undefined;
  by: "us" | "remote";
  /** Upstream's text. */
  reason: string;
  failure: FailureCode;
}

/** Collects the log lines of a node and answers questions about them. */
export class DropLog {
  readonly drops: DropLine[] = [];
  /** Addresses that were closed without a handshake. */
  readonly refused: { address: string; reason: string }[] = [];
  readonly dialFailures: { address: string; failure: FailureCode }[] = [];
  readonly #changes = new Conditions();

  /** Something was added. */
  changed(): void {
    this.#changes.changed();
  }

  /** The lines about one peer: by its socket before HELLO, by its node id afterwards. */
  about(peer: HostilePeer): DropLine[] {
    const { host, port } = peer.local;
    const announced = peer.session.hello.listeningPort;
    return this.drops.filter((line) =>
      line.nodeId === undefined ? line.address === `${host}:${port}` : line.nodeId === peer.nodeIdText &&
        (line.address.endsWith(`:${announced}`) || line.address.endsWith(`:${port}`))
    );
  }

  /** The line about one peer, once it is there. */
  async drop(peer: HostilePeer): Promise<DropLine> {
    await this.until(`the log line about ${peer}`, () => this.about(peer).length > 0);
    return this.about(peer)[0];
  }

  until(what: string, condition: () => boolean): Promise<void> {
    return this.#changes.until(PROMPT_MS, what, condition);
  }
}

/** A node under attack. */
export interface Target extends AsyncDisposable {
  /** Where it listens. */
  readonly address: Address;
  readonly log: DropLog;
}

/** Both ends tell the same story of an end that the node made: what the wire showed, and what the log says. */
export async function assertDropped(
  target: Target,
  peer: HostilePeer,
  expected: { wire?: string; reason?: string; failure: FailureCode },
  limitMs = PROMPT_MS,
): Promise<void> {
  const end = await peer.ended(limitMs);
  assert.equal(end.error, expected.wire, "ERROR_MSG on the wire");
  const line = await target.log.drop(peer);
  const reason = expected.reason ?? expected.wire?.slice(expected.wire.indexOf(" ") + 1);
  assert.deepEqual(
    { by: line.by, reason: line.reason, failure: line.failure },
    { by: "us", reason, failure: expected.failure },
  );
  assert.equal(target.log.about(peer).length, 1, "one line per connection");
  assert.deepEqual(peer.badFrames, []);
}

/** The node still serves this peer, and never said a word against it. */
export async function assertKept(target: Target, peer: HostilePeer): Promise<void> {
  await peer.ping();
  assert.equal(peer.end, undefined);
  assert.deepEqual(target.log.about(peer), []);
  assert.deepEqual(peer.badFrames, []);
}
