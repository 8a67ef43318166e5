import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";
import { encodeMessage } from "../../overlay/wire/messages.ts";
import { loadMessageJson } from "./xdr_json.ts";

test("messages come out in the manner of SEP-51", async () => {
  const json = await loadMessageJson();
  const hash = new Uint8Array(32).fill(7), hex = "07".repeat(32);
  assert.deepEqual(json(encodeMessage({ type: "floodAdvert", txHashes: [hash] })), {
    flood_advert: { tx_hashes: [hex] },
  });
  assert.deepEqual(json(encodeMessage({ type: "getScpState", ledgerSeq: 5 })), { get_scp_state: 5 });
  assert.deepEqual(json(encodeMessage({ type: "dontHave", dontHave: { type: 17, reqHash: hash } })), {
    dont_have: { type: "generalized_tx_set", req_hash: hex },
  });
  assert.deepEqual(json(encodeMessage({ type: "errorMsg", error: { code: 4, msg: "peer rejected" } })), {
    error_msg: { code: "load", msg: "peer rejected" },
  });
  const peers = [{ ip: Uint8Array.of(127, 0, 0, 1), port: 11625, numFailures: 0 }];
  assert.deepEqual(json(encodeMessage({ type: "peers", peers })), {
    peers: [{ ip: "127.0.0.1", port: 11625, num_failures: 0 }],
  });
  const qSet = { threshold: 1, validators: [hash], innerSets: [{ threshold: 1, validators: [], innerSets: [] }] };
  assert.deepEqual(json(encodeMessage({ type: "scpQuorumset", qSet })), {
    scp_quorumset: {
      threshold: 1,
      validators: [encodeNodeId(hash)],
      inner_sets: [{ threshold: 1, validators: [], inner_sets: [] }],
    },
  });
});

test("what does not decode comes out as hex with the reason, and a value that is no StellarValue as hex", async () => {
  const json = await loadMessageJson();
  const wrong = json(Uint8Array.of(0, 0, 0, 11, 1)) as { undecoded: string; reason: string };
  assert.equal(wrong.undecoded, "0000000b01");
  assert.ok(wrong.reason.length > 0);
  const nominate = { quorumSetHash: new Uint8Array(32), votes: [Uint8Array.of(1, 2)], accepted: [] };
  const statement = {
    nodeId: new Uint8Array(32),
    slotIndex: 2n ** 63n,
    pledges: { type: "nominate" as const, nominate },
  };
  const message = encodeMessage({ type: "scpMessage", envelope: { statement, signature: new Uint8Array(64) } });
  // deno-lint-ignore no-explicit-any
  const body = json(message) as any;
  assert.deepEqual(body.scp_message.statement.pledges.nominate.votes, ["0102"]);
  assert.equal(body.scp_message.statement.slot_index, "9223372036854775808");
});
