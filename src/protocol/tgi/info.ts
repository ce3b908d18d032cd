/** GET /info of TGI, of one model. How many requests fit at once is the host's secret, so that is not among it. */
import { STOP_STRINGS_MAX, TEXT_CHARS_MAX } from "../limits.ts";
import type { ModelInfo } from "../model-info.ts";
import { VERSION } from "../version.ts";

export function tgiInfoBody({ id, sha256, contextLength, quantization, residency }: ModelInfo) {
  return {
    model_id: id,
    model_sha: sha256,
    model_dtype: quantization,
    model_device_type: residency,
    model_pipeline_tag: "text-generation",
    max_best_of: 1,
    max_stop_sequences: STOP_STRINGS_MAX,
    max_input_chars: TEXT_CHARS_MAX,
    max_input_tokens: contextLength === null ? null : contextLength - 1,
    max_total_tokens: contextLength,
    validation_workers: 1,
    max_client_batch_size: 1,
    router: "runnel",
    version: VERSION,
    sha: null,
    docker_label: null,
  };
}
