// A client of the REST interface whose types come from the OpenAPI description. It is compiled with --strict, never run.
import type { components, operations, paths } from "./api";

type Schemas = components["schemas"];
type Verb = "get" | "put" | "post" | "patch" | "delete";
type JsonOf<T> = T extends { content: { "application/json": infer Body } } ? Body : never;
type RequestBody<O> = O extends { requestBody?: infer Body } ? JsonOf<Body> : never;
type ResponseBody<O> = O extends { responses: infer R }
  ? { [Status in keyof R]: Status extends 200 | 201 | 202 ? JsonOf<R[Status]> : never }[keyof R]
  : never;

class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly body: JsonOf<components["responses"]["Error400"]>,
  ) {
    super(body.message);
  }
}

class Client {
  constructor(
    private readonly base: string,
    private readonly token: string,
  ) {}

  async call<Path extends keyof paths & string, Method extends Verb & keyof paths[Path]>(
    method: Method,
    path: Path,
    places: Record<string, string>,
    body?: RequestBody<paths[Path][Method]>,
  ): Promise<ResponseBody<paths[Path][Method]>> {
    const url = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(places[name] ?? ""));
    const response = await fetch(this.base + url, {
      method: method.toUpperCase(),
      headers: { authorization: `Bearer ${this.token}`, "content-type": "application/json" },
      body: body === undefined ? null : JSON.stringify(body),
    });
    if (!response.ok) throw new ApiError(response.status, await response.json());
    return (await response.json()) as ResponseBody<paths[Path][Method]>;
  }
}

export async function makeVideo(client: Client, clip: string): Promise<string> {
  const request: Schemas["CreateVideoRequest"] = {
    title: "A walk",
    clips: [{ asset_id: clip, start_time: "00:00:05" }],
    audio: { script: "We walk by the sea.", voice: "en-US", background_music: "calm" },
    settings: { resolution: "1080p", aspect_ratio: "9:16", quality: "draft" },
    priority: "high",
  };
  const job = await client.call("post", "/v1/videos", {}, request);
  const id: string = job.job_id ?? "";
  for (;;) {
    const status = await client.call("get", "/v1/videos/{job_id}/status", { job_id: id });
    const progress: number = status.progress ?? 0;
    if (status.status === "failed") throw new Error(`${status.error?.reason}: ${status.error?.message} at ${progress} %`);
    if (status.status === "completed") {
      const result: string | null | undefined = status.result_url;
      return result ?? "";
    }
  }
}

export async function listTitles(client: Client): Promise<string[]> {
  const page = await client.call("get", "/v1/videos", {});
  const videos: Schemas["Video"][] = page.videos ?? [];
  return videos.map((video) => video.title ?? "");
}

// Files are binary bodies, neither JSON nor `unknown`.
export const upload: NonNullable<operations["UploadAsset"]["requestBody"]>["content"] = {
  "application/octet-stream": "the bytes of a file",
};

// What the platform refuses, the types refuse.
export const refused: Schemas["CreateVideoRequest"][] = [
  // @ts-expect-error: a title is required
  { clips: [] },
  // @ts-expect-error: there is no such priority
  { title: "A walk", priority: "urgent" },
  // @ts-expect-error: there is no such field
  { title: "A walk", setings: {} },
  // @ts-expect-error: a width is a number
  { title: "A walk", settings: { width: "1080" } },
];
