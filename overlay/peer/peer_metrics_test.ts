import { test } from "node:test";
import assert from "node:assert/strict";
import { VirtualClock } from "../base/clock.ts";
import { Connection } from "../connection/connection.ts";
import { DEFAULT_FLOW_CONTROL, FlowControl } from "../connection/flow_control.ts";
import { FakeSocket } from "../../tests/kit/transport_suite.ts";
import { encodeMessage, MessageType } from "../wire/messages.ts";
import { PeerMetrics } from "./peer_metrics.ts";

test("PeerMetrics shows upstream's counters of a peer", async () => {
  const clock = new VirtualClock();
  await clock.advance(1000);
  const socket = new FakeSocket();
  socket.takes = false;
  const connection = new Connection(socket, clock, { onMessage() {}, onProblem() {}, onEnd() {} });
  const flowControl = new FlowControl(DEFAULT_FLOW_CONTROL, clock.nowMs());
  const metrics = new PeerMetrics(connection, flowControl, clock.nowMs());

  const ask = encodeMessage({ type: "getScpState", ledgerSeq: 1 });
  connection.send(ask);
  await clock.advance(0);
  connection.send(ask);
  await clock.advance(500);
  socket.take();
  await clock.advance(200);
  socket.take();
  const frame = new Uint8Array(4 + 44 + ask.length);
  frame.set([0x80, 0, 0, 44 + ask.length]);
  frame.set(ask, 16);
  socket.feed(frame);
  const large = new Uint8Array(200_000);
  flowControl.enqueue(MessageType.transaction, large, 0);
  flowControl.granted({ numMessages: 1, numBytes: 1 }, clock.nowMs());

  metrics.countFlood(true, 100);
  metrics.countFlood(false, 100);
  metrics.countFlood(false, 50);
  metrics.countFetch(true, 1000);
  metrics.countFetch(false, 1);
  for (const rtt of [30, 10, 20]) metrics.latency.add(clock.nowMs(), rtt);
  await clock.advance(2400);
  assert.deepEqual(metrics.snapshot(clock.nowMs()), {
    messageRead: 1,
    messageWrite: 2,
    byteRead: 56,
    byteWrite: 112,
    asyncRead: 1,
    asyncWrite: 2,
    messageDrop: 1,
    messageDelayInWriteQueueP75: 500,
    messageDelayInAsyncWriteP75: 500,
    uniqueFloodMessageRecv: 1,
    uniqueFloodBytesRecv: 100,
    duplicateFloodMessageRecv: 2,
    duplicateFloodBytesRecv: 150,
    uniqueFetchMessageRecv: 1,
    uniqueFetchBytesRecv: 1000,
    duplicateFetchMessageRecv: 1,
    duplicateFetchBytesRecv: 1,
    pullLatencyP75: 0,
    demandTimeouts: 0,
    latencyMedianMs: 20,
    readThrottles: 0,
    readThrottleMs: 0,
    floodThrottles: 1,
    floodThrottleMs: 700,
    secondsConnected: 3,
  });
  await clock.advance(300_000);
  assert.equal(metrics.snapshot(clock.nowMs()).latencyMedianMs, 0, "only the last 300 s");
});
