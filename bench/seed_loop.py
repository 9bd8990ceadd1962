"""The original's evaluation loop (its infer_eval.py): one request at a time. Times it and writes JSON.

    FEWSHOT_API_KEY=... python bench/seed_loop.py --base-url http://127.0.0.1:8000/v1 --data data/tiny/llm_test.json \\
        --limit 300 --out seed.json
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_openai import ChatOpenAI


def main() -> None:
    """Ask the first ``--limit`` items in order and write how long it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, required=True)
    parser.add_argument("--max-tokens", type=int, help="longest answer; the original sets none")
    parser.add_argument("--adapter", help="which one answers; for the record")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    items = json.loads(args.data.read_text(encoding="utf-8"))[: args.limit]
    cap = {"max_tokens": args.max_tokens} if args.max_tokens else None
    model = ChatOpenAI(api_key=os.environ["FEWSHOT_API_KEY"], base_url=args.base_url, temperature=0, extra_body=cap)
    chain = model | StrOutputParser()
    begun = time.monotonic()
    preds = [
        chain.invoke([SystemMessage(content=item["instruction"]), HumanMessage(content=item["input"])]).strip()
        for item in items
    ]
    seconds = time.monotonic() - begun
    args.out.write_text(json.dumps({"items": len(items), "seconds": seconds, "adapter": args.adapter, "preds": preds}))


if __name__ == "__main__":
    main()
