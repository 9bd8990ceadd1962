# SERVER=vllm without a GPU and without vLLM: a stub of `vllm serve`, a GPU that is found, a template that is there.
# shellcheck shell=bash

one_server() {
  export GPU=bf16
  local line
  for line in DEVICE=gpu BACKEND=vllm SERVER=vllm; do setting "$line"; done
  # The template as py/chat_template.py leaves it: that script and its real template are tested in
  # tests/test_prompt_parity.py; this tokenizer is none that LLaMA-Factory could use.
  local python=$FEWSHOT_VENV/bin/python
  rm "$python"
  cat >"$python" <<END
#!/usr/bin/env bash
if [[ \${1-} == py/chat_template.py ]]; then
  mkdir -p "$WORK/saves/a_model"
  echo '{{ messages }}' >"$WORK/saves/a_model/glm4.jinja"
  echo '{"stop_token_ids": [7], "prompts": []}' >"$WORK/saves/a_model/glm4.json"
  exit
fi
exec '$PROJECT/tests/stubs/python' "\$@"
END
  chmod +x "$python"
  ln -sf -- "$PROJECT/tests/stubs/vllm" "$FEWSHOT_VENV/bin/"
}

# packages_are_found: those in WORK/packages, by our programs; no PYTHONPATH of the user's reaches them.
packages_are_found() { sed -i "s|^exec |PYTHONPATH='$WORK/packages' &|" "$FEWSHOT_VENV/bin/python"; }
