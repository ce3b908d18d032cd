/**
 * Chat formats for files without a template of their own. Written as templates too, so that one code path renders all.
 */

/** The de-facto standard where the vocabulary has its two control tokens. */
export const CHATML_TEMPLATE = `{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}`;

/**
 * A plain transcript for base models: "User: …", "Assistant: …", parted by blank lines; system text stands alone in
 * front. Such a model may go on and write the user's next line itself: callers can pass "\\nUser:" as a stop string.
 */
export const TRANSCRIPT_TEMPLATE = `{%- for message in messages -%}
{%- if message.role != 'system' %}{{ message.role | capitalize + ': ' }}{% endif -%}
{{ message.content + '\\n\\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}`;

export function fallbackTemplate(hasToken: (text: string) => boolean): string {
  return hasToken("<|im_start|>") && hasToken("<|im_end|>") ? CHATML_TEMPLATE : TRANSCRIPT_TEMPLATE;
}
