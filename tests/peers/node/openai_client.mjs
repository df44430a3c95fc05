// OpenAI's client for Node, unchanged, against a service: `node openai_client.mjs CASE URL`. Prints what it got, as JSON.
import { createRequire } from "node:module";

const { default: OpenAI } = createRequire(`${process.env.NODE_PACKAGES}/`)("openai");
const [kind, url] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "a-token-of-the-test-1", maxRetries: kind === "retries" ? 2 : 0 });
const messages = [{ role: "user", content: "one two three" }];

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

const cases = {
  async whole() {
    const chat = await client.chat.completions.create({ model: "m", messages });
    const completion = await client.completions.create({ model: "m", prompt: "one two" });
    const models = [];
    for await (const model of client.models.list()) models.push(model.id);
    return { text: chat.choices[0].message.content, usage: chat.usage.total_tokens, completion: completion.choices[0].text, models };
  },
  async stream() {
    const asked = { model: "m", messages, stream: true, stream_options: { include_usage: true } };
    const chunks = await collect(await client.chat.completions.create(asked));
    const texts = (await collect(await client.completions.create({ model: "m", prompt: "a b", stream: true }))).map((c) => c.choices[0].text);
    const text = chunks.map((chunk) => chunk.choices[0]?.delta?.content ?? "").join("");
    return { text, usage: chunks.at(-1).usage.total_tokens, texts };
  },
  async accumulated() {
    // The client's own helper, which is strict about the order of what comes.
    const stream = client.chat.completions.stream({ model: "m", messages });
    return { text: await stream.finalContent(), finish: (await stream.finalChatCompletion()).choices[0].finish_reason };
  },
  async embeddings() {
    const found = await client.embeddings.create({ model: "m", input: ["a", "bcd"] });
    return { lengths: found.data.map((item) => item.embedding.length) };
  },
  async retries() {
    return failing();
  },
  async error() {
    return failing();
  },
  async leave() {
    const stream = await client.chat.completions.create({ model: "m", messages, stream: true });
    for await (const chunk of stream) {
      const first = chunk.choices[0].delta.content;
      stream.controller.abort();
      return { first };
    }
  },
  async abort() {
    const controller = new AbortController();
    const asked = client.chat.completions.create({ model: "m", messages }, { signal: controller.signal });
    process.stdin.once("data", () => controller.abort());
    return failed(asked);
  },
};

async function failed(promise) {
  try {
    await promise;
  } catch (error) {
    return { name: error.constructor.name, status: error.status ?? null, code: error.code ?? null, id: error.requestID ?? null };
  }
  return {};
}

function failing() {
  return failed(client.chat.completions.create({ model: "m", messages }));
}

console.log(JSON.stringify(await cases[kind]()));
