/** A JSON body whose pieces are made as they are read. */

const encoder = new TextEncoder();

export function piecesResponse(pieces: Iterator<string>): Response {
  const body = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        const { done, value } = pieces.next();
        if (done) controller.close();
        else controller.enqueue(encoder.encode(value));
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, { headers: { "content-type": "application/json" } });
}
