"""Words of other tools and of everyday speech, and what recipes call the same."""

from __future__ import annotations

#: A recipe's word: what people write in its place. Of several meanings the one that is known in that place counts.
_MEANT = {
    # training
    "learning_rate": "lr rate base_lr max_lr peak_lr eta step_size",
    "epochs": "epoch num_epochs n_epochs num_train_epochs train_epochs max_epochs",
    "max_steps": "steps num_steps n_steps max_train_steps train_steps iterations iters",
    "batch_size": "bs batch batchsize train_batch_size per_device_train_batch_size mini_batch_size "
    "auto_find_batch_size",
    "gradient_accumulation": "gradient_accumulation_steps grad_accum accumulation accumulation_steps "
    "accumulate_grad_batches",
    "schedule": "scheduler lr_scheduler lr_scheduler_type lr_schedule scheduler_type",
    "warmup_ratio": "warmup warm_up warmup_steps warmup_proportion warmup_fraction",
    "weight_decay": "wd decay l2",
    "layerwise_lr_decay": "llrd layer_decay lr_decay layer_lr_decay",
    "precision": "dtype fp16 bf16 amp mixed_precision torch_dtype",
    "freeze": "frozen freeze_embeddings freeze_encoder freeze_base freeze_layers",
    "eval_steps": "evaluation_steps eval_every eval_interval eval_strategy save_steps",
    "label_smoothing": "smoothing label_smoothing_factor",
    "early_stopping": "patience early_stop earlystopping",
    "keep_best": "load_best_model_at_end save_best best best_checkpoint",
    "class_weights": "weights class_weight loss_weights pos_weight",
    "seed": "random_seed rng random_state",
    "teacher": "teacher_model teachers",
    "losses": "loss terms",
    "hidden": "layers hidden_states hidden_state",
    "temperature": "temp tau t",
    # adapters and pruning
    "r": "rank lora_r lora_rank dim",
    "alpha": "lora_alpha scaling",
    "dropout": "lora_dropout hidden_dropout_prob hidden_dropout dropout_prob dropout_rate",
    "target_modules": "modules targets lora_target target_layers",
    "virtual_tokens": "num_virtual_tokens prompt_length prefix_length n_tokens length tokens",
    "amount": "ratio sparsity fraction rate percent",
    "sparsity": "amount ratio target_sparsity",
    "samples": "n num_samples size count calibration_samples",
    # task and data
    "type": "task_type kind name problem_type",
    "dataset": "data datasets rows",
    "data_files": "files file",
    "path": "folder dir directory id source",
    "name": "config subset configuration config_name",
    "delimiter": "sep separator delim",
    "text": "texts column text_column input inputs sentence sentences feature features x columns",
    "label": "target label_column y class answer labels",
    "labels": "classes class_names label_names names label_list id2label",
    "metrics": "metric measures scores eval_metric",
    "max_length": "max_len max_seq_length max_seq_len seq_len sequence_length length max_tokens",
    "validation": "valid val dev eval evaluation validation_split",
    "train": "training train_split",
    "selection": "validation_split val_ratio holdout dev_ratio",
    "missing_label": "ignore_label ignore_index missing none_label",
    "leaks": "leak leakage duplicates overlap contamination",
    # metrics, types of task
    "accuracy": "acc exact_match top1",
    "f1": "f1_score f1_macro macro_f1 f_score fscore f1_micro f",
    "precision ": "prec ppv",
    "recall": "sensitivity tpr",
    "matthews": "mcc matthews_correlation matthews_corrcoef",
    "pearson": "pearsonr correlation corr",
    "spearman": "spearmanr rho",
    "rouge1": "rouge rouge_1",
    "rouge2": "rouge_2",
    "rougeL": "rouge_l rougelsum",
    "size": "model_size file_size disk bytes",
    "latency.p50": "latency median p50 speed latency_ms inference_time time ms",
    "latency.p90": "p90 p95 latency.p95 tail",
    "latency.p99": "p99 p999 latency.p999",
    "throughput.qps": "qps throughput queries_per_second rps rows_per_second samples_per_second",
    "memory.peak": "memory ram rss peak_memory mem",
    "start.cold": "cold_start startup start load_time cold",
    "text-classification": "classification sequence_classification sentiment sentiment_analysis classify nli "
    "text_pair_classification",
    "ndcg@10": "ndcg ndcg_10 ndcg_at_10 ndcg_cut_10",
    "mrr@10": "mrr mrr_10 mrr_at_10 reciprocal_rank recip_rank",
    "recall@10": "recall_10 recall_at_10",
    "map": "mean_average_precision map@10 average_precision",
    "embedding": "sentence_similarity feature_extraction bi_encoder retrieval sentence_transformers",
    "reranking": "rerank ranking text_ranking cross_encoder reranker",
    "text-regression": "regression sts similarity",
    "token-classification": "ner pos tagging sequence_labeling named_entity_recognition",
    "multiple-choice": "mc swag choice",
    "summarization": "summary summarize summarisation seq2seq",
    "coreference": "coref coreference_resolution",
    # model, export, targets, gates, the whole
    "id": "path name model_id checkpoint model_name model_name_or_path pretrained folder",
    "revision": "branch commit tag version",
    "format": "type name exporter backend",
    "threads": "num_threads cores cpus n_threads",
    "max_drop": "drop max_loss margin tolerance tolerated_drop delta epsilon",
    "min": "minimum threshold at_least lower min_value",
    "max_mb": "max_size mb max_bytes megabytes",
    "max_ms": "ms max_latency milliseconds",
    "min_speedup": "speedup speed_up min_speed_up faster",
    "max_ratio": "ratio",
    "steps": "transforms pipeline passes stages",
    "export": "exports format output",
    "targets": "target devices device",
    "gates": "gate checks constraints thresholds budget",
    "task": "data dataset",
    "model": "base base_model encoder",
    "baseline": "reference teacher",
    "use": "transform type uses op",
    "finetune": "fine_tune finetuning fine_tuning train training sft full",
    "adapter.lora": "peft low_rank",
    "merge": "fuse merge_adapter merge_and_unload unload",
    "prune.magnitude": "prune pruning l1 unstructured magnitude_pruning",
    "prune.fisher": "structured structured_pruning heads head_pruning prune.heads prune.structured",
    "prune.layers": "layer_drop drop_layers layer_pruning",
    "distill": "distil distillation kd knowledge_distillation",
    "quantize.dynamic": "dynamic_quantization quantise.dynamic",
    "quantize.static": "int8 quantize quantise quantization quantisation ptq static_quantization quantize.int8 "
    "quantize.ptq quantize.8bit",
    "quantize.qat": "quantization_aware_training quantize.aware",
    "onnx": "onnxruntime ort_onnx",
    "litert": "tflite tensorflow_lite lite",
    "executorch": "pte torch_mobile xnnpack",
    "transformers-js": "transformers.js transformersjs javascript web",
    "openvino": "ov intel",
}


def _plain(word: str) -> str:
    return word.strip().casefold().replace("-", "_").replace(" ", "_")


_MEANINGS: dict[str, list[str]] = {}
for _ours, _words in _MEANT.items():
    for _word in _words.split():
        _MEANINGS.setdefault(_word, []).append(_ours.strip())


def meanings(word: str) -> list[str]:
    """The names that recipes have for a word of the field, likeliest first."""
    return _MEANINGS.get(_plain(word), [])
