//! One step as words in the staging region (`src/backends/cpu/step-encoding.ts` writes them). Offsets are in words from
//! the start of the step; f32 are stored as bits.
//!
//! ```text
//! header     HEADER_WORDS: the fields of `Step`, in order
//! copies     (from, to) blocks
//! sequences  SEQUENCE_WORDS each: first token row, number of tokens, position of the first, table offset, table length
//! tokens     ids of all sequences, one row each
//! head rows  token rows that go through the final norm, each once, those whose logits are computed first
//! outputs    OUTPUT_WORDS each: the fields of `Output`, in order
//! lists      block tables; prompt and output tokens for penalties; (token, f32 bias) pairs; masks
//! ```

use crate::config::Config;

const HEADER_WORDS: usize = 11;
const SEQUENCE_WORDS: usize = 5;
const OUTPUT_WORDS: usize = 21;

/// Most alternatives reported for a row.
pub const MAX_TOP: usize = 20;
/// Words of one result: token, logprob, number of alternatives, 0, then (token, logprob) × MAX_TOP.
pub const RESULT_WORDS: usize = 4 + 2 * MAX_TOP;

#[derive(Clone, Copy)]
pub struct Step<'a> {
    words: &'a [u32],
    pub copies: &'a [u32],
    pub tokens: &'a [u32],
    pub head_rows: &'a [u32],
    /// How many of `head_rows` want logits.
    pub num_logit_rows: usize,
    sequences: &'a [u32],
    outputs: &'a [u32],
}

#[derive(Clone, Copy)]
pub struct StepSequence<'a> {
    pub first_row: usize,
    pub num_tokens: usize,
    pub start_position: usize,
    pub table: &'a [u32],
}

pub struct Output<'a> {
    /// Index into `head_rows`.
    pub logits: usize,
    pub sample: bool,
    /// Report the logprob of this token; None = of the sampled one, if any.
    pub score: Option<u32>,
    pub wants_logprobs: bool,
    pub num_top: usize,
    pub temperature: f32,
    pub top_k: u32,
    pub top_p: f32,
    pub min_p: f32,
    pub repetition_penalty: f32,
    pub presence_penalty: f32,
    pub frequency_penalty: f32,
    pub rng_key: [u32; 2],
    pub rng_counter: u32,
    pub prompt_tokens: &'a [u32],
    pub output_tokens: &'a [u32],
    /// (token, f32 bits) pairs.
    pub bias: &'a [u32],
    /// Bit t & 31 of word t >> 5 is set where token t may be drawn; empty = all may be.
    pub mask: &'a [u32],
}

impl<'a> Step<'a> {
    /// Reads and checks a step. Err holds the number of the broken rule (see wasm/README.md); nothing was changed then.
    pub fn read(words: &'a [u32], config: &Config) -> Result<Step<'a>, i32> {
        let header = words.get(..HEADER_WORDS).ok_or(1)?;
        let list = |offset: u32, len: usize| -> Result<&'a [u32], i32> {
            words.get(offset as usize..).and_then(|rest| rest.get(..len)).ok_or(1)
        };
        let (num_copies, num_sequences) = (header[0] as usize, header[1] as usize);
        let (num_tokens, num_outputs, num_rows) = (header[2] as usize, header[3] as usize, header[8] as usize);
        if num_tokens > config.max_batch_tokens || num_sequences > config.max_sequences {
            return Err(2);
        }
        // Rows go through the same buffers as the tokens of a step, so neither bound may be passed.
        let max_rows = config.max_logit_rows.min(config.max_batch_tokens);
        let num_logit_rows = header[10] as usize;
        if num_rows > max_rows
            || num_logit_rows > num_rows
            || num_outputs > config.max_logit_rows
            || num_copies > config.num_blocks
        {
            return Err(3);
        }
        let step = Step {
            words,
            copies: list(header[4], 2 * num_copies)?,
            sequences: list(header[5], SEQUENCE_WORDS * num_sequences)?,
            tokens: list(header[6], num_tokens)?,
            outputs: list(header[7], OUTPUT_WORDS * num_outputs)?,
            head_rows: list(header[9], num_rows)?,
            num_logit_rows,
        };
        step.check(config)?;
        Ok(step)
    }

    fn check(&self, config: &Config) -> Result<(), i32> {
        let all_below = |list: &[u32], limit: usize| list.iter().all(|&value| (value as usize) < limit);
        if !all_below(self.copies, config.num_blocks) || !all_below(self.tokens, config.vocab_size) {
            return Err(4);
        }
        // Rows of the last forward pass stay readable, so a follow-up call may ask for more of their outputs.
        if !all_below(self.head_rows, config.max_batch_tokens) {
            return Err(5);
        }
        let mut row = 0;
        for index in 0..self.num_sequences() {
            let sequence = self.sequence(index).ok_or(1)?;
            let end = sequence.start_position.checked_add(sequence.num_tokens).ok_or(6)?;
            if sequence.first_row != row || sequence.num_tokens == 0 || end > config.context_length {
                return Err(6);
            }
            if sequence.table.len() < end.div_ceil(config.block_tokens) || !all_below(sequence.table, config.num_blocks)
            {
                return Err(7);
            }
            row += sequence.num_tokens;
        }
        if row != self.tokens.len() {
            return Err(6);
        }
        for index in 0..self.num_outputs() {
            let output = self.output(index, config).ok_or(1)?;
            let bias_in_range = output.bias.chunks_exact(2).all(|pair| (pair[0] as usize) < config.vocab_size);
            if output.logits >= self.head_rows.len()
                || output.num_top > MAX_TOP.min(config.vocab_size)
                || output.score.is_some_and(|token| token as usize >= config.vocab_size)
                || !all_below(output.prompt_tokens, config.vocab_size)
                || !all_below(output.output_tokens, config.vocab_size)
                || !bias_in_range
            {
                return Err(8);
            }
        }
        Ok(())
    }

    pub fn num_sequences(&self) -> usize {
        self.sequences.len() / SEQUENCE_WORDS
    }

    pub fn num_outputs(&self) -> usize {
        self.outputs.len() / OUTPUT_WORDS
    }

    /// None when its table lies outside the step.
    pub fn sequence(&self, index: usize) -> Option<StepSequence<'a>> {
        let words = &self.sequences[index * SEQUENCE_WORDS..][..SEQUENCE_WORDS];
        Some(StepSequence {
            first_row: words[0] as usize,
            num_tokens: words[1] as usize,
            start_position: words[2] as usize,
            table: self.list(words[3], words[4])?,
        })
    }

    /// None when one of its lists lies outside the step.
    pub fn output(&self, index: usize, config: &Config) -> Option<Output<'a>> {
        const SAMPLE: u32 = 1;
        const SCORE: u32 = 2;
        const LOGPROBS: u32 = 4;
        let words = &self.outputs[index * OUTPUT_WORDS..][..OUTPUT_WORDS];
        let float = |i: usize| f32::from_bits(words[i]);
        Some(Output {
            logits: words[0] as usize,
            sample: words[1] & SAMPLE != 0,
            score: if words[1] & SCORE != 0 { Some(words[12]) } else { None },
            wants_logprobs: words[1] & LOGPROBS != 0,
            num_top: words[13] as usize,
            temperature: float(2),
            top_k: words[3],
            top_p: float(4),
            min_p: float(5),
            repetition_penalty: float(6),
            presence_penalty: float(7),
            frequency_penalty: float(8),
            rng_key: [words[9], words[10]],
            rng_counter: words[11],
            prompt_tokens: self.list(words[14], words[15])?,
            output_tokens: self.list(words[16], words[17])?,
            bias: self.list(words[18], words[19].checked_mul(2)?)?,
            // The header is at 0, so no mask is.
            mask: self.list(words[20], if words[20] == 0 { 0 } else { config.vocab_size.div_ceil(32) as u32 })?,
        })
    }

    fn list(&self, offset: u32, len: u32) -> Option<&'a [u32]> {
        self.words.get(offset as usize..).and_then(|rest| rest.get(..len as usize))
    }
}
