/**
 * Every scenario that stellar-core's overlay tests play, section by section, and what each comes to. A test shows a scenario
 * by its name: it is called "scenario: " and the parts of the name, joined with ", " or ": "; more words may follow.
 * `catalogue_test.ts` holds the list, the tests and docs/parity.md together. Source: the TEST_CASEs of stellar-core
 * src/overlay/test and of the herder tests that the overlay carries.
 */

/** One test case of stellar-core, or one section of one. */
export interface Scenario {
  /**
   * stellar-core's names of the case and of its sections, outermost first, joined with " / ". Names that repeat what stands
   * before them are shortened ("as many" for "as many peers in database as requested").
   */
  name: string;
  /** What is expected, in our words. */
  shows: string;
  /** Why it cannot apply to a node without a ledger. The same sentence stands in docs/parity.md. */
  notHere?: string;
}

/** Scenarios of one subject. */
export interface ScenarioGroup {
  title: string;
  /** Files of stellar-core. */
  source: string;
  scenarios: readonly Scenario[];
}

const SIGNATURES =
  "The cache of checked signatures belongs to the validation of transactions, which needs accounts and their signers.";
const TRANSACTION_QUEUE =
  "The budget per period and the order by fee are those of the transaction queue, which needs a ledger: " +
  "a relay offers each transaction as it comes.";
const TEST_BUILD_BATCHES = "Batches of transactions exist in stellar-core's test builds only.";

const HANDSHAKE: Scenario[] = [
  {
    name: "loopback peer hello",
    shows: "two nodes meet, and each books the other's address by who dialed",
  },
  { name: "loopback peer with 0 port", shows: "a node that announces port 0 is refused" },
  {
    name: "loopback peer send auth before hello",
    shows: "AUTH as the first message ends the connection; no address is learned",
  },
  {
    name: "failed auth",
    shows: "a wrong MAC key ends it after HELLO: unexpected MAC; the addresses are booked",
  },
  {
    name: "peers during auth / inbound",
    shows: "PEERS from the side that dialed: received PEERS",
  },
  { name: "peers during auth / outbound", shows: "a second PEERS: too many msgs PEERS" },
  {
    name: "reject non preferred peer / inbound",
    shows: "only preferred peers: a caller is rejected after AUTH, and booked",
  },
  { name: "reject non preferred peer / outbound", shows: "the same for a node that was dialed" },
  { name: "accept preferred peer even when strict / inbound", shows: "a caller that is preferred by key is admitted" },
  { name: "accept preferred peer even when strict / outbound", shows: "the same for a node that was dialed" },
  { name: "reject peers beyond max / inbound", shows: "the second caller is rejected, the first stays" },
  { name: "reject peers beyond max / outbound", shows: "the second dialed node is rejected, the first stays" },
  {
    name: "reject peers beyond max - preferred peer wins / preferred connects first / inbound",
    shows: "the preferred caller stays, the other is rejected",
  },
  {
    name: "reject peers beyond max - preferred peer wins / preferred connects first / outbound",
    shows: "the same for dialed nodes",
  },
  {
    name: "reject peers beyond max - preferred peer wins / preferred connects second / inbound",
    shows: "the preferred caller takes the other's place",
  },
  {
    name: "reject peers beyond max - preferred peer wins / preferred connects second / outbound",
    shows: "the same for dialed nodes",
  },
  { name: "allow inbound pending peers up to max", shows: "silent callers fill the pending slots until they idle out" },
  {
    name: "allow inbound pending peers over max if possibly preferred",
    shows: "an IP that a preferred peer has finds two more slots",
  },
  { name: "allow outbound pending peers up to max", shows: "dials wait for a pending slot; silent nodes idle out" },
  {
    name: "reject peers with differing network passphrases",
    shows: "another network's certificate is no certificate here",
  },
  {
    name: "reject peers with invalid cert",
    shows: "a certificate that does not fit its signature closes in silence",
  },
  {
    name: "reject banned peers",
    shows: "a banned node is closed in silence by the side that banned it",
  },
  {
    name: "reject peers with incompatible overlay versions / cfg2 above",
    shows: "too new: wrong protocol version; no address",
  },
  {
    name: "reject peers with incompatible overlay versions / cfg2 below",
    shows: "too old: the same",
  },
  {
    name: "reject peers who dont handshake quickly / 2 seconds timeout",
    shows: "a silent caller idles out at the check after the limit",
  },
  {
    name: "reject peers who dont handshake quickly / 5 seconds timeout",
    shows: "the same with a longer limit",
  },
  {
    name: "drop peers who straggle / 60 seconds straggle timeout",
    shows: "a slow reader is dropped as straggling, not as idle",
  },
  { name: "drop peers who straggle / 120 seconds straggle timeout", shows: "the same with the usual limit" },
  { name: "drop peers who straggle / 150 seconds straggle timeout", shows: "the same with a longer limit" },
  {
    name: "GET_SCP_STATE rate limiting",
    shows: "10 requests a window are served, more are ignored; the window starts anew",
  },
  {
    name: "reject peers with the same nodeid / inbound",
    shows: "a node that dials its own identity: connecting to self",
  },
  { name: "reject peers with the same nodeid / outbound", shows: "the same the other way" },
  {
    name: "connecting to saturated nodes",
    shows: "nodes find places through the PEERS of a full one, and again when it is gone",
  },
  {
    name: "inbounds nodes can be promoted to ouboundvalid",
    shows: "addresses of callers are dialed in the end and become outbound ones",
  },
  {
    name: "database is purged at overlay start",
    shows: "records with 120 failures and more are gone after the start",
  },
  {
    name: "peer numfailures resets after good connection",
    shows: "a dial that authenticates clears the failures",
  },
  {
    name: "peer is purged from database after few failures",
    shows: "the dial that fails for the 120th time deletes the record",
  },
  {
    name: "disconnected topology recovery / regular peers",
    shows: "out of sync, nodes let peers go at random until two islands join",
  },
  { name: "disconnected topology recovery / preferred peers", shows: "preferred peers are never let go" },
];

const BYTES = "flow control byte capacity";
const UPGRADES = `${BYTES} / transaction size upgrades`;
const FILTERING = "outbound queue filtering";
const OBSOLETE = `${FILTERING} / obsolete SCP messages`;
const FLOW_CONTROL: Scenario[] = [
  { name: `${BYTES} / basic capacity accounting`, shows: "credit and capacity fall by a transaction's size" },
  { name: `${BYTES} / send more flow`, shows: "processing grants again when the batch is reached" },
  { name: `${BYTES} / batch size is less than message size`, shows: "one transaction makes one grant" },
  {
    name: `${BYTES} / batch size is greater than message size`,
    shows: "no room for one transaction: refused at start",
  },
  { name: `${BYTES} / message count kicks in first`, shows: "the count of messages grants before the bytes do" },
  { name: `${BYTES} / automatic calculation of byte configs`, shows: "derived limits: one transaction makes no grant" },
  { name: `${BYTES} / mixed versions`, shows: "an old and a new node keep the same accounts" },
  { name: `${BYTES} / older versions`, shows: "two old ones do too" },
  {
    name: `${UPGRADES} / overlay buffer is big enough`,
    shows: "a fee bump with all signatures adds less than 2,000 bytes",
  },
  {
    name: `${UPGRADES} / no upgrade, drop messages over limit`,
    shows: "what is larger than the limit is never queued",
  },
  { name: `${UPGRADES} / fee bump is within limit`, shows: "a fee bump of the largest transaction still fits" },
  { name: `${UPGRADES} / upgrade increases limit`, shows: "the larger limit is granted, and the larger one arrives" },
  { name: `${UPGRADES} / both upgrade`, shows: "the same when both sides upgrade at once" },
  { name: `${UPGRADES} / fee-bump for tx2 is within limit after upgrade`, shows: "its fee bump arrives too" },
  {
    name: `${UPGRADES} / upgrade decreases limit`,
    shows: "what was queued leaves; nothing is granted; later ones are skipped",
  },
  {
    name: `${UPGRADES} / upgrade delayed / acceptor eventually upgrades`,
    shows: "what waits for credit leaves when the other side upgrades",
  },
  {
    name: `${UPGRADES} / upgrade delayed / acceptor never upgrades, drop after timeout`,
    shows: "without credit for 60 s the connection ends",
  },
  {
    name: "flow control total byte capacity throttles non-flood traffic",
    shows: "large quorum sets pause reading, and the capacity comes back whole",
  },
  { name: "loopback peer flow control activation / basic", shows: "both sides have full credit after the handshake" },
  {
    name: "loopback peer flow control activation / bad peer / invalid value in the message",
    shows: "a grant of nothing ends the connection",
  },
  {
    name: "loopback peer flow control activation / bad peer / invalid message type",
    shows: "the grant without bytes ends the connection",
  },
  { name: "drop peers that dont respect capacity / bytes", shows: "more bytes than granted end the connection" },
  { name: "drop peers that dont respect capacity / messages", shows: "more messages than granted do too" },
  { name: "drop idle flow-controlled peers", shows: "a peer that never grants is dropped after 60 s" },
  { name: "drop peers that overflow capacity / message capacity", shows: "grants beyond 64 bits end the connection" },
  { name: "drop peers that overflow capacity / byte capacity", shows: "the same for bytes" },
  { name: `${FILTERING} / SCP messages, slot too old`, shows: "an old slot that starts the checkpoint is kept" },
  { name: `${FILTERING} / SCP messages, checkpoint too old`, shows: "slots of the last checkpoint are not queued" },
  {
    name: `${FILTERING} / txs, limit reached / trim based on message count`,
    shows: "the queue is cleared whole at its limit",
  },
  { name: `${FILTERING} / txs, limit reached / trim based on byte count`, shows: "the same for bytes" },
  { name: `${OBSOLETE} / only latest messages, no trimming`, shows: "the byte limit does not concern SCP messages" },
  {
    name: `${OBSOLETE} / trim obsolete messages / trim prepare, keep nomination`,
    shows: "a ballot statement replaces the older one only",
  },
  {
    name: `${OBSOLETE} / trim obsolete messages / trim prepare, keep messages from other nodes`,
    shows: "and only of the same node",
  },
  {
    name: `${FILTERING} / advert demand limit reached / count-based`,
    shows: "adverts and demands are counted in hashes",
  },
  { name: "flow control when out of sync", shows: "messages nobody processes give their capacity back" },
  { name: "overlay flow control", shows: "three nodes with a credit of one message apply every payment" },
  { name: "overlay flow control / tx batches", shows: "the same when several transactions are offered at once" },
  {
    name: "Queue purging after write completion / p1 never reads",
    shows: "the queue toward a silent reader is cleared",
  },
  {
    name: "Queue purging after write completion / p1 received all txs",
    shows: "a reader that keeps up gets everything",
  },
];

const PULL = "overlay pull mode";
const TX_FLOODING = "Flooding / transaction flooding";
const SCP_FLOODING = "Flooding / scp messages flooding";
const PULL_MODE: Scenario[] = [
  { name: `${PULL} / ignore duplicated adverts`, shows: "an advert that comes again makes no demand" },
  {
    name: `${PULL} / do not advertise to peers that know about tx / pull mode enabled on all`,
    shows: "who advertised is not told",
  },
  { name: `${PULL} / sanity check - demand`, shows: "each is asked for what it alone advertised" },
  {
    name: `${PULL} / exact same advert from two peers`,
    shows: "the work is halved, and the other halves follow after the back-off",
  },
  { name: `${PULL} / overlapping adverts`, shows: "what both have is asked of one, then of the other" },
  { name: `${PULL} / randomize peers`, shows: "neither peer gets the larger half too often" },
  { name: "overlay pull mode loadgen", shows: "every hash is advertised once, and every demand answered" },
  { name: "overlay pull mode loadgen / test batches", shows: "the same in batches", notHere: TEST_BUILD_BATCHES },
  {
    name: "overlay pull mode loadgen / test batches / valid limit",
    shows: "a limit of a batch's size that can be kept",
    notHere: TEST_BUILD_BATCHES,
  },
  {
    name: "overlay pull mode loadgen / test batches / invalid limit",
    shows: "one that cannot is an error of the configuration",
    notHere: TEST_BUILD_BATCHES,
  },
  { name: "overlay pull mode with many peers", shows: "a hash nobody delivers is asked for 15 times" },
  {
    name: "advert queue / incoming adverts",
    shows: "retries are dropped before new hashes, and asked for before them",
  },
  { name: "advert queue / outgoing adverts / flush advert after some time", shows: "one hash leaves within a second" },
  { name: "advert queue / outgoing adverts / flush advert when at capacity", shows: "a full advert leaves at once" },
  {
    name: "advert queue / outgoing adverts / ensure outgoing queue is capped",
    shows: "an advert has 1,000 hashes at most",
  },
  {
    name: `${TX_FLOODING} / core / loopback`,
    shows: "4 nodes: 20 transactions reach everybody",
  },
  { name: `${TX_FLOODING} / core / tcp`, shows: "the same over TCP" },
  {
    name: `${TX_FLOODING} / outer nodes / loopback`,
    shows: "5 core nodes and 10 around them: the same",
  },
  { name: `${TX_FLOODING} / outer nodes / tcp`, shows: "the same over TCP" },
  { name: `${TX_FLOODING} / pull mode with 2 nodes`, shows: "each advertises its 10 hashes, and no demand is refused" },
  {
    name: `${TX_FLOODING} / pull mode with 2 nodes / advertise same transaction after some time`,
    shows: "a known transaction is advertised again only when its ledgers have passed",
  },
  {
    name: `${TX_FLOODING} / pull mode with 4 nodes`,
    shows: "the counts of adverts and demands stay in bounds",
  },
  {
    name: `${SCP_FLOODING} / core / loopback`,
    shows: "20 statements with their quorum sets and transaction sets reach everybody",
  },
  { name: `${SCP_FLOODING} / core / tcp`, shows: "the same over TCP" },
  {
    name: `${SCP_FLOODING} / outer nodes / loopback`,
    shows: "5 core nodes and 10 around them: the same",
  },
  { name: `${SCP_FLOODING} / outer nodes / tcp`, shows: "the same over TCP" },
  {
    name: "background signature verification with missing account",
    shows: "a transaction of nobody is received and does no harm",
  },
  { name: "populateSignatureCache tests / Normal transaction", shows: "one check, then hits", notHere: SIGNATURES },
  { name: "populateSignatureCache tests / Fee bump transaction", shows: "two checks", notHere: SIGNATURES },
  {
    name: "populateSignatureCache tests / Normal transaction with invalid source account",
    shows: "no check",
    notHere: SIGNATURES,
  },
  {
    name: "populateSignatureCache tests / Fee bump transaction with invalid accounts",
    shows: "no check",
    notHere: SIGNATURES,
  },
  {
    name: "populateSignatureCache tests / Ed25519 signed payload signer cached during overlay validation",
    shows: "one check, then hits",
    notHere: SIGNATURES,
  },
  {
    name: "populateSignatureCache tests / Signature cache invalidation after signer removal",
    shows: "a cached signature makes nothing valid",
    notHere: SIGNATURES,
  },
];

const FETCHES = "ItemFetcher fetches";
const TURN = `${FETCHES} / asks peers in turn`;
const OLD = "Tracker works / properly removes old envelopes";
const FETCHING: Scenario[] = [
  { name: FETCHES, shows: "per hash the envelopes that wait for it" },
  { name: `${FETCHES} / stop one`, shows: "an envelope that is given up is not processed when the item comes" },
  { name: `${FETCHES} / stop all`, shows: "without envelopes nobody is asked any more" },
  { name: `${FETCHES} / dont stop`, shows: "all are processed, in the order in which items come" },
  { name: `${FETCHES} / no cache`, shows: "an item that came is fetched anew when it is wanted anew" },
  { name: `${TURN} / success / fetching once works`, shows: "the second peer is asked 1.5 s after the first" },
  {
    name: `${TURN} / success / fetching twice does not trigger any additional network activity`,
    shows: "two envelopes cost one search",
  },
  { name: `${TURN} / not found / peers timeout`, shows: "peers alternate, and the rounds move apart to 15 s" },
  { name: `${TURN} / not found / peers actively respond not found`, shows: "DONT_HAVE moves on at once" },
  { name: `${FETCHES} / ignore not asked items`, shows: "what nobody waits for changes nothing" },
  { name: "next peer strategy / doesn't try the same peer", shows: "with one peer the second try asks nobody" },
  { name: "next peer strategy / with more peers / try new peer", shows: "each is asked once a round" },
  {
    name: "next peer strategy / with more peers / peer1 told us that it knows",
    shows: "who floods the envelope is asked again",
  },
  { name: "Tracker works / empty tracker", shows: "no envelope, no slot" },
  { name: "Tracker works / can listen on envelope", shows: "one waits and is given back" },
  { name: "Tracker works / listen twice on the same envelope", shows: "it waits once" },
  { name: "Tracker works / can listen on different envelopes", shows: "last in, first out; the highest slot stays" },
  { name: `${OLD} / some old`, shows: "slots below the lowest go" },
  { name: `${OLD} / all old`, shows: "nothing left: the tracker ends" },
  { name: `${OLD} / keeps checkpoint envelope`, shows: "the checkpoint's slot stays" },
  { name: `${OLD} / some future`, shows: "slots above the highest go" },
  { name: `${OLD} / all future`, shows: "nothing left: the tracker ends" },
  { name: `${OLD} / keeps checkpoint when removing future`, shows: "the checkpoint's slot stays" },
  { name: `${OLD} / both sides`, shows: "a range is left" },
  { name: `${OLD} / outside range, keeping checkpoint`, shows: "a range and the checkpoint's slot are left" },
];

const TOPOLOGY: Scenario[] = [
  { name: "storeConfigPeers() adds", shows: "configured addresses are booked by their list" },
  { name: "triggerPeerResolution() async resolution", shows: "the same for names that are resolved behind" },
  { name: "storeConfigPeers() update type", shows: "addresses known by callers rise" },
  { name: "broadcast() broadcasts", shows: "a message goes to those who do not know it, once" },
  {
    name: "basic connectivity / not enough capacity",
    shows: "1 place out, 20 in: more than half of such networks stay islands",
  },
  {
    name: "basic connectivity / small fanout sufficient to stay connected",
    shows: "2 out, 2 in connect 23 nodes; for consensus: everybody hears every validator's statement",
  },
  {
    name: "basic connectivity / large network is connected",
    shows: "2 out, 4 in connect 123 nodes; for consensus: the same",
  },
  {
    name: "peer churn / add new peers",
    shows: "nodes that join one by one are connected 15 s later",
  },
  {
    name: "peer churn / remove peers / basic churn - remove and add",
    shows: "nodes that come back are connected again",
  },
  {
    name: "peer churn / remove peers / churn overtime",
    shows: "the same in 10 rounds of 3 nodes",
  },
];

const GET_PEERS = "getPeersToSend";
const getPeersToSend: Scenario[] = [
  ["no peers", "nothing is sent from an empty book"],
  ["less than requested", "all there are"],
  ["as many", "all there are"],
  ["more", "as many as asked for, those that were dialed first"],
  ["more but half failed", "addresses with 11 failures are not offered"],
].flatMap(([name, shows]) =>
  name === "no peers"
    ? [{ name: `${GET_PEERS} / ${name}`, shows }]
    : ["only inbound", "only outbound", "mixed"].map((kind) => ({ name: `${GET_PEERS} / ${name} / ${kind}`, shows }))
);

const PARSE = "parse peer record";
const ADDRESS_BOOK: Scenario[] = [
  { name: "toXdr / toXdr", shows: "an address becomes 4 bytes and a port" },
  { name: "toXdr / database roundtrip / inbound", shows: "records read back as they were stored" },
  { name: "toXdr / database roundtrip / outbound", shows: "the same" },
  { name: "toXdr / database roundtrip / preferred", shows: "the same" },
  { name: "private addresses", shows: "the three private ranges are known" },
  { name: "create peer record / empty", shows: "an address of nothing is none" },
  { name: "create peer record / empty ip", shows: "an address without a host is an error" },
  { name: "create peer record / random string", shows: "the record does not look at its text" },
  { name: "create peer record / valid data", shows: "host and port are kept" },
  { name: `${PARSE} / empty`, shows: "refused" },
  { name: `${PARSE} / random string`, shows: "a text with a blank: refused" },
  { name: `${PARSE} / invalid ipv4`, shows: "a part above 255: refused" },
  { name: `${PARSE} / ipv4 mask`, shows: "refused" },
  { name: `${PARSE} / valid ipv6`, shows: "refused upstream; we accept it in brackets, on purpose" },
  { name: `${PARSE} / invalid ipv6`, shows: "refused" },
  { name: `${PARSE} / ipv6 mask`, shows: "refused" },
  { name: `${PARSE} / empty port`, shows: "a colon and nothing: refused" },
  { name: `${PARSE} / invalid port`, shows: "0, negative, above 65,535: refused" },
  { name: `${PARSE} / default port`, shows: "11625" },
  { name: `${PARSE} / different default port`, shows: "the one that is asked for" },
  { name: `${PARSE} / valid port`, shows: "1 to 65,535" },
  { name: "loadRandomPeers", shows: "every combination of filters gives exactly the records that match" },
  ...getPeersToSend,
  { name: "RandomPeerSource::nextAttemptCutoff also limits maxFailures", shows: "121 failures are too many to dial" },
  { name: "purge peer table", shows: "records with too many failures go, of one IP or of all" },
];

const LIMITER = "messagelimiter";
const TOPOLOGY_SURVEY = "topology survey";
const SURVEY: Scenario[] = [
  { name: "topology encrypted response memory check / V2", shows: "two full lists fit into a sealed answer" },
  {
    name: `${TOPOLOGY_SURVEY} / 5 normal nodes (A->B->C B->E)`,
    shows: "answers come over relays, with the right neighbours",
  },
  {
    name: `${TOPOLOGY_SURVEY} / D is not in transitive quorum, so A doesn't respond or relay to B`,
    shows: "a stranger's survey is neither answered nor passed on",
  },
  {
    name: `${TOPOLOGY_SURVEY} / B does not have C in SURVEYOR_KEYS, so B doesn't respond or relay to A`,
    shows: "nor is that of a node which may not survey",
  },
  {
    name: `${TOPOLOGY_SURVEY} / A (surveyor) filters out unknown responses`,
    shows: "an answer without a question is thrown away",
  },
  {
    name: "survey request process order / request processed fifo",
    shows: "requests leave in the order they were asked for",
  },
  {
    name: "Time sliced static topology survey / Normal static topology survey",
    shows: "collecting, reporting, the end; a second survey fails, a later one runs",
  },
  { name: "Time sliced dynamic topology survey", shows: "who joins or leaves during collecting is reported so" },
  { name: LIMITER, shows: "a repeated request is refused" },
  { name: `${LIMITER} / survey request limits are enforced`, shows: "one node too many is refused" },
  { name: `${LIMITER} / allow self to start survey when at capacity`, shows: "our own survey has no limit" },
  { name: `${LIMITER} / receive corresponding response`, shows: "one answer to one request" },
  { name: `${LIMITER} / corresponding response ledgernum too high`, shows: "refused" },
  { name: `${LIMITER} / corresponding response ledgernum too low`, shows: "refused" },
  { name: `${LIMITER} / surveyor receives response`, shows: "as any other" },
  { name: `${LIMITER} / receive unknown response`, shows: "refused" },
  { name: `${LIMITER} / request ledgernum too high`, shows: "refused" },
  { name: `${LIMITER} / request ledgernum too low`, shows: "refused" },
  {
    name: `${LIMITER} / hit request limit, clear old ledgers, and send new request`,
    shows: "with the next ledger there is room again",
  },
];

const TCP: Scenario[] = [
  {
    name: "TCPPeer lifetime / p0 connects to p1, but p1 can't accept",
    shows: "no connection object remains",
  },
  {
    name: "TCPPeer lifetime / p1 connects to p0, but p1 can't initiate",
    shows: "not even an attempt is made",
  },
  {
    name: "TCPPeer can communicate",
    shows: "the ERROR_MSG of a drop still leaves, and both sides close",
  },
  {
    name: "TCPPeer read malformed messages / message size is over limit",
    shows: "error during read, and no answer",
  },
  {
    name: "TCPPeer read malformed messages / bad auth sequence",
    shows: "unexpected auth sequence; nothing is read after it",
  },
  {
    name: "TCPPeer read malformed messages / corrupt xdr",
    shows: "received corrupt XDR; nothing is read after it",
  },
  {
    name: "TCPPeer drop at capacity",
    shows: "two transactions for a credit of one, while the first is being processed",
  },
];

const DONT_FLOOD = "do not flood too many transactions";
const SCP_ENVELOPE = "PendingEnvelopes recvSCPEnvelope";
const RELATED: Scenario[] = [
  {
    name: "SCP State",
    shows:
      "restarted nodes, whose herders restore their last statements, answer with them; for externalizing: a fresh node tracks that slot",
  },
  {
    name: "SCP checkpoint / GC old checkpoints",
    shows: "statements of 12 slots and of the checkpoint's first are kept, as scripted validators externalize",
  },
  {
    name: "SCP checkpoint / Out of sync node receives checkpoint",
    shows: "a node behind gets the recent slots at once and the checkpoint's within 4 s",
  },
  { name: "SCP checkpoint / Two out of sync nodes", shows: "so do two, one of which only knows the other" },
  {
    name: "In quorum filtering",
    shows:
      "statements of strangers are not passed on until one node's quorum set names one; then its own trust counts too",
  },
  {
    name: "do not flood invalid transactions",
    shows: "what the program that follows the ledger banned is neither asked for nor passed on",
  },
  { name: DONT_FLOOD, shows: "so many a period, the highest fee first", notHere: TRANSACTION_QUEUE },
  {
    name: `${DONT_FLOOD} / with DEX separation`,
    shows: "with a lane of its own for offers",
    notHere: TRANSACTION_QUEUE,
  },
  { name: "do not flood too many soroban transactions", shows: "the same for Soroban's", notHere: TRANSACTION_QUEUE },
  {
    name: SCP_ENVELOPE,
    shows: "an envelope waits for its quorum set and transaction sets, in either order",
  },
];

/** Every scenario, by subject. */
export const CATALOGUE: readonly ScenarioGroup[] = [
  { title: "Handshake and connections", source: "OverlayTests.cpp", scenarios: HANDSHAKE },
  { title: "Flow control", source: "OverlayTests.cpp", scenarios: FLOW_CONTROL },
  { title: "Pull mode", source: "OverlayTests.cpp, TxAdvertsTests.cpp, FloodTests.cpp", scenarios: PULL_MODE },
  { title: "Item fetching", source: "ItemFetcherTests.cpp, TrackerTests.cpp", scenarios: FETCHING },
  {
    title: "Overlay manager, topology",
    source: "OverlayManagerTests.cpp, OverlayTopologyTests.cpp",
    scenarios: TOPOLOGY,
  },
  { title: "Address book", source: "PeerManagerTests.cpp", scenarios: ADDRESS_BOOK },
  { title: "Survey", source: "SurveyManagerTests.cpp, SurveyMessageLimiterTests.cpp", scenarios: SURVEY },
  { title: "TCP", source: "TCPPeerTests.cpp", scenarios: TCP },
  { title: "Beside the overlay", source: "src/herder/test", scenarios: RELATED },
];
