/** A dispatcher between two peers, and what it sent, handed on and discarded. */
import { readUint32 } from "../base/bytes.ts";
import { VirtualClock } from "../base/clock.ts";
import { SeededRandom } from "../base/random.ts";
import { encodeMessage, MessageType, ReceivedMessage, type StellarMessage } from "../wire/messages.ts";
import { Floodgate, floodIdOf } from "./floodgate.ts";
import { type DispatcherOptions, type DispatchPeer, MessageDispatcher } from "./message_dispatcher.ts";
import { ScpState, type ScpStateOptions } from "./scp_state.ts";
import { NETWORK_ID } from "./scp_state_test_kit.ts";

/** A peer that keeps what it is sent. */
export class FakePeer implements DispatchPeer {
  readonly latencyMs = 10;
  sent: Uint8Array[] = [];
  constructor(readonly nodeId: string) {}
  send(message: Uint8Array) {
    this.sent.push(message);
  }
  /** Types sent since the last call. */
  types(): number[] {
    return this.sent.splice(0).map((message) => readUint32(message, 0));
  }
}

/** A dispatcher with the peers x and y. */
export function dispatcherOf(options: Partial<DispatcherOptions> = {}, state: Partial<ScpStateOptions> = {}) {
  const clock = new VirtualClock(), gate = new Floodgate(), peers = ["x", "y"].map((name) => new FakePeer(name));
  const ready: Uint8Array[] = [], discarded: string[] = [];
  const scp: ScpState = new ScpState({
    clock,
    networkId: NETWORK_ID,
    onTracking: () => dispatcher.slotsChanged(),
    ...state,
  });
  const dispatcher: MessageDispatcher = new MessageDispatcher({
    clock,
    random: new SeededRandom(1),
    scp,
    peers: () => peers,
    knownBy: (id) => gate.knownBy(id),
    ledger: { closeTimeMs: 5000, protocolVersion: 22 },
    events: {
      onEnvelope: (envelope) => ready.push(envelope.message),
      onDiscarded: (id, reason) => {
        discarded.push(reason);
        gate.forget(id);
      },
    },
    ...options,
  });
  const receive = (peer: FakePeer, message: StellarMessage | Uint8Array) => {
    const bytes = message instanceof Uint8Array ? message : encodeMessage(message);
    if (readUint32(bytes, 0) === MessageType.scpMessage) gate.addRecord(floodIdOf(bytes), 1, peer.nodeId);
    return dispatcher.receive(peer, new ReceivedMessage(readUint32(bytes, 0), bytes, clock.nowMs()));
  };
  return { clock, gate, peers, scp, dispatcher, receive, ready, discarded };
}
