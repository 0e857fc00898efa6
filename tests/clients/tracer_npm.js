/*
 * A program that npm honeyhive 1.x traces; run by test_tracers.py, with the collector's address.
 *
 * Prints as JSON the id of its session. The client writes problems to the console, if verbose.
 */

const { HoneyHiveTracer, enrichSpan } = require("honeyhive");

const CHAT = [{ role: "user", content: "Wo ist mein Päckchen?" }];

const problems = [];
for (const name of ["warn", "error"]) console[name] = (...words) => problems.push(words.join(" "));
console.log = () => {};
console.info = () => {};

async function main(url) {
  const tracer = await HoneyHiveTracer.init({
    apiKey: "hh_test_key",
    project: "p",
    sessionName: "support",
    source: "test",
    serverUrl: url,
    verbose: true,
  });
  const find = tracer.traceTool(
    function find(number, how) {
      return { place: "Bern", number, by: ["train", null] };
    },
    { eventName: "find_parcel" },
  );
  const call = tracer.traceTool(
    async function call() {
      throw new Error("no answer");
    },
    { eventName: "call_driver" },
  );
  const ask = tracer.traceModel(
    async function ask(messages) {
      enrichSpan({
        config: { model: "gpt-4o", provider: "openai", temperature: 0.2 },
        inputs: { chat_history: messages },
        outputs: { role: "assistant", content: "In Bern." },
        metadata: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 },
        metrics: { score: 0.5 },
        feedback: { liked: true },
      });
      find(7, { deep: [1, { x: true }] });
      return "In Bern.";
    },
    { eventName: "ask" },
  );
  const answer = tracer.traceChain(
    async function answer() {
      await ask(CHAT);
      return call().catch(() => 1);
    },
    { eventName: "answer" },
  );
  await tracer.trace(answer);
  await tracer.flush();
  await tracer.enrichSession({
    metadata: { k: 1 },
    feedback: { rating: 5 },
    metrics: { m: 0.5 },
    outputs: { done: true },
    userProperties: { user_id: "u1" },
  });
  process.stdout.write(`\n${JSON.stringify({ session_id: tracer.sessionId, problems })}\n`);
}

main(process.argv[2]);
